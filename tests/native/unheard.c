/*
 * Linked with --wrap into a program that pins wasmtime: what it sets reaches nobody, and wasmtime
 * is left to what it infers from CPUID.
 */
#include <wasmtime.h>

wasmtime_error_t *__wrap_wasmtime_config_target_set(wasm_config_t *config, const char *target);
void __wrap_wasmtime_config_cranelift_flag_set(wasm_config_t *config, const char *name,
                                               const char *value);

wasmtime_error_t *
__wrap_wasmtime_config_target_set(wasm_config_t *config, const char *target)
{
    (void)config;
    (void)target;
    return NULL;
}

void
__wrap_wasmtime_config_cranelift_flag_set(wasm_config_t *config, const char *name,
                                          const char *value)
{
    (void)config;
    (void)name;
    (void)value;
}
