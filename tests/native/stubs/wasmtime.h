/*
 * The part of wasmtime's C API that docs/examples/embed/engine.c uses, for the library inside a wheel
 * of wasmtime-py, which comes without headers. Signatures: crates/c-api/include of wasmtime 50.
 */
#ifndef WASMTIME_H
#define WASMTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct wasm_config_t wasm_config_t;
typedef struct wasm_engine_t wasm_engine_t;
typedef struct wasm_trap_t wasm_trap_t;
typedef struct wasmtime_error wasmtime_error_t;
typedef struct wasmtime_store wasmtime_store_t;
typedef struct wasmtime_context wasmtime_context_t;
typedef struct wasmtime_module wasmtime_module_t;

typedef struct {
    size_t size;
    char *data;
} wasm_byte_vec_t;

typedef struct {
    uint64_t store_id;
    size_t private_;
} wasmtime_instance_t;

typedef struct {
    uint64_t store_id;
    void *private_;
} wasmtime_func_t;

typedef struct {
    uint8_t kind;
    union {
        wasmtime_func_t func;
        uint64_t others[4];
    } of;
} wasmtime_extern_t;

typedef struct {
    uint8_t kind;
    union {
        int32_t i32;
        uint64_t others[4];
    } of;
} wasmtime_val_t;

wasm_config_t *wasm_config_new(void);
wasm_engine_t *wasm_engine_new_with_config(wasm_config_t *config);
wasmtime_error_t *wasmtime_config_target_set(wasm_config_t *config, const char *target);
void wasmtime_config_cranelift_flag_set(wasm_config_t *config, const char *name,
                                        const char *value);
void wasmtime_error_message(const wasmtime_error_t *error, wasm_byte_vec_t *message);
wasmtime_error_t *wasmtime_wat2wasm(const char *text, size_t length, wasm_byte_vec_t *bytes);
wasmtime_store_t *wasmtime_store_new(wasm_engine_t *engine, void *data, void (*finalizer)(void *));
wasmtime_context_t *wasmtime_store_context(wasmtime_store_t *store);
wasmtime_error_t *wasmtime_module_new(wasm_engine_t *engine, const uint8_t *bytes, size_t length,
                                      wasmtime_module_t **module);
wasmtime_error_t *wasmtime_instance_new(wasmtime_context_t *store, const wasmtime_module_t *module,
                                        const wasmtime_extern_t *imports, size_t count,
                                        wasmtime_instance_t *instance, wasm_trap_t **trap);
bool wasmtime_instance_export_get(wasmtime_context_t *store, const wasmtime_instance_t *instance,
                                  const char *name, size_t length, wasmtime_extern_t *item);
wasmtime_error_t *wasmtime_func_call(wasmtime_context_t *store, const wasmtime_func_t *function,
                                     const wasmtime_val_t *arguments, size_t count,
                                     wasmtime_val_t *results, size_t result_count,
                                     wasm_trap_t **trap);

#endif
