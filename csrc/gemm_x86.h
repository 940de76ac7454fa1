// Engines of x86-64, each in a file compiled for its instruction set; called only where the processor has it.
#pragma once

#include "gemm.h"

#define RADFAST_INLINE inline __attribute__((always_inline))

namespace radfast::gemm {

const Engine& avx2_engine();
const Engine& avx512_engine();

}  // namespace radfast::gemm
