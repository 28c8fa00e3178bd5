/* Which compilation of body.h to use. */
#include "kernels.h"
#include <string.h>

extern const bg_kernels bg_kernels_baseline;
#if defined(BOOSTGRAD_X86)
extern const bg_kernels bg_kernels_avx2, bg_kernels_avx512;
#endif

const bg_kernels *bg_select(const char *name)
{
    const bg_kernels *best_first[3];
    int n = 0;
#if defined(BOOSTGRAD_X86)
    __builtin_cpu_init(); /* asks the operating system too, whether it saves the wide registers */
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("avx2"))
        best_first[n++] = &bg_kernels_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("bmi"))
        best_first[n++] = &bg_kernels_avx2;
#endif
    best_first[n++] = &bg_kernels_baseline;
    if (name == NULL)
        return best_first[0];
    for (int i = 0; i < n; i++)
        if (strcmp(best_first[i]->name, name) == 0)
            return best_first[i];
    return NULL;
}
