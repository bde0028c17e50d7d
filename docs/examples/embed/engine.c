/* Runs a module's export `answer` with wasmtime, compiled with the flags that are safe here; where
 * they cannot be told, it is interpreted.
 *
 *   cc engine.c $(pkg-config --cflags --libs cpuprobe) -lwasmtime -o engine && ./engine module.wat
 */
#include <cpuprobe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wasmtime.h>

#ifndef WASMTIME_MAJOR
#define WASMTIME_MAJOR 50 /* the version that this program is linked with */
#endif

static void
must(wasmtime_error_t *error)
{
    wasm_byte_vec_t message;

    if (error == NULL)
        return;
    wasmtime_error_message(error, &message);
    fprintf(stderr, "%.*s\n", (int)message.size, message.data);
    exit(1);
}

/* The settings of an engine whose code runs here. */
static wasm_config_t *
safe_config(void)
{
    wasm_config_t *config = wasm_config_new();
    char flags[CPUPROBE_FLAGS_BYTES];
    long length = cpuprobe_safe_flags(WASMTIME_MAJOR, flags, sizeof flags);

    if (length < 0) {
        fprintf(stderr, "cpuprobe: %s; interpreting instead\n", cpuprobe_error_text(length));
        must(wasmtime_config_target_set(config, "pulley64"));
        return config;
    }
    /* With a target nothing is inferred from CPUID, which may claim what does not work. */
    must(wasmtime_config_target_set(config, "x86_64-unknown-linux-gnu"));
    for (char *line = strtok(flags, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        char *value = strchr(line, '=');

        *value = '\0';
        wasmtime_config_cranelift_flag_set(config, line, value + 1);
    }
    return config;
}

static void
read_module(const char *path, wasm_byte_vec_t *module)
{
    static char text[65536];
    FILE *file = fopen(path, "rb");
    size_t length = file == NULL ? 0 : fread(text, 1, sizeof text, file);

    must(wasmtime_wat2wasm(text, length, module));
}

int
main(int count, char **arguments)
{
    wasm_engine_t *engine = wasm_engine_new_with_config(safe_config());
    wasmtime_store_t *store = wasmtime_store_new(engine, NULL, NULL);
    wasmtime_context_t *context = wasmtime_store_context(store);
    wasmtime_module_t *module;
    wasmtime_instance_t instance;
    wasmtime_extern_t answer;
    wasmtime_val_t result;
    wasm_trap_t *trap = NULL;
    wasm_byte_vec_t bytes;

    if (count != 2)
        return 2;
    read_module(arguments[1], &bytes);
    must(wasmtime_module_new(engine, (const uint8_t *)bytes.data, bytes.size, &module));
    must(wasmtime_instance_new(context, module, NULL, 0, &instance, &trap));
    if (!wasmtime_instance_export_get(context, &instance, "answer", 6, &answer))
        return 1;
    must(wasmtime_func_call(context, &answer.of.func, NULL, 0, &result, 1, &trap));
    if (trap != NULL)
        return 1;
    printf("%d\n", result.of.i32);
    return 0;
}
