// The kernels of csrc/cosine.cu on the host, one C function launch_<kernel> each: see cuda_on_host.h.
#include "cuda_on_host.h"
// After it, since they use what it defines.
#include "mma_on_host.h"
// And the kernels last.
#include "../../csrc/cosine.cu"

static const bool ready = [] {
    on_host::on_block = on_host::clear_copies;
    return true;
}();

RADFAST_EXPORT(cosine_prepare)
RADFAST_EXPORT(cosine_tensor_4)
RADFAST_EXPORT(cosine_tensor_2)
RADFAST_EXPORT(cosine_tensor_deep)
RADFAST_EXPORT(cosine_exact)
RADFAST_EXPORT(cosine_finish)
