/*
 * A model of Rust's std_detect, with which wasmtime infers its flags and checks those it is given.
 *
 * Source: rust-lang/rust 06b69b5, library/std_detect/src/detect/os/x86.rs. Where its rules differ
 * from the manuals' stands in profiles/quirks.toml; cpuprobe/assessment/std_detect_x86_64.py is the
 * same in Python.
 */
#include "../../verdict.h"

static const struct {
    const char *vendor;
    uint32_t without;
    struct feature_bits hides;
} hiding[] = {
#define ROW(vendor, without, hides) {vendor, without, hides},
    EACH_DETECTOR(ROW)
#undef ROW
};

/* Is the register state that a feature needs on, as the detector sees it? */
static bool
sees_state(unsigned int feature, const struct seen_state *seen)
{
    switch (feature_rows[feature].encoding) {
    case ENCODING_LEGACY:
    case ENCODING_VEX_GPR:
        return true;
    case ENCODING_VEX:
        return seen->ymm;
    case ENCODING_EVEX:
        return seen->zmm;
    default:
        return seen->saved && (~seen->xcr0 & feature_xcr0(feature)) == 0;
    }
}

/* What std_detect reports where CPUID claims that and the state is as it is seen. */
void
detect(const struct judged_machine *machine, const struct feature_bits *claimed,
       const struct seen_state *seen, struct feature_bits *detected)
{
    static const struct feature_bits ungated = DETECTED_UNGATED, evex_asks = DETECTOR_EVEX_ASKS;
    struct seen_state state = *seen;
    char vendor[VALUE_BYTES];

    state.zmm = state.zmm && has_features(claimed, &evex_asks);
    *detected = (struct feature_bits){0};
    for (unsigned int i = 0; i < FEATURE_COUNT; i++)
        if (has_feature(claimed, i) && (has_feature(&ungated, i) || sees_state(i, &state)))
            add_feature(detected, i);
    if (!machine_vendor(machine, vendor))
        return;
    for (size_t i = 0; i < sizeof hiding / sizeof *hiding; i++)
        if (text_equal(vendor, hiding[i].vendor) && !has_feature(detected, hiding[i].without))
            for (unsigned int word = 0; word < FEATURE_WORDS; word++)
                detected->word[word] &= ~hiding[i].hides.word[word];
}
