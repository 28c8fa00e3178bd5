/* x86-64 with the AVX-512 subsets of Skylake-X and Zen 4 (F, DQ, BW, VL). */
#if defined(BOOSTGRAD_X86)
#include <immintrin.h>
#include <math.h>
#include <string.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,bmi,bmi2,lzcnt,popcnt"))), \
                             apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,bmi,bmi2,lzcnt,popcnt,prefer-vector-width=512")
#endif
#define BG_ISA avx512
#define BG_AVX512 1
#include "body.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
typedef int bg_not_an_empty_file;
