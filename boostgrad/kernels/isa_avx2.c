/* x86-64 with AVX2 and BMI. No FMA: a fused multiply-add would round differently from the other tables. */
#if defined(BOOSTGRAD_X86)
#include <immintrin.h>
#include <math.h>
#include <string.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt"))), apply_to = function)
#else
#pragma GCC target("avx2,bmi,bmi2,lzcnt,popcnt")
#endif
#define BG_ISA avx2
#define BG_AVX2 1
#include "body.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
typedef int bg_not_an_empty_file;
