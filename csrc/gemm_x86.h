// Engines of x86-64, compiled per function for their instruction set; called only where the processor has it.
#pragma once

#include "gemm.h"

namespace radfast::gemm {

const Engine& avx2_engine();
const Engine& avx512_engine();

}  // namespace radfast::gemm
