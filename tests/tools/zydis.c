/* Zydis decoding straight on, as little of each instruction as it can: for `make bench`. */
#include <Zydis/Zydis.h>

size_t
count_instructions(const ZyanU8 *code, size_t size)
{
    ZydisDecoder decoder;
    ZydisDecodedInstruction instruction;
    size_t number = 0;

    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_MINIMAL, ZYAN_TRUE);
    for (size_t at = 0; at < size; number++) {
        ZyanStatus status = ZydisDecoderDecodeInstruction(&decoder, NULL, code + at, size - at,
                                                          &instruction);

        at += ZYAN_SUCCESS(status) ? instruction.length : 1;
    }
    return number;
}
