// The kernels of csrc/gibbs.cu on the host, one C function launch_<kernel> each: see cuda_on_host.h.
#include "cuda_on_host.h"
// After it, since it uses what the other defines.
#include "../../csrc/gibbs.cu"

RADFAST_EXPORT(gibbs_pass_short)
RADFAST_EXPORT(gibbs_pass_128)
RADFAST_EXPORT(gibbs_pass_256)
RADFAST_EXPORT(gibbs_pass_2048)
RADFAST_EXPORT(gibbs_count)
RADFAST_EXPORT(gibbs_judge_long)
RADFAST_EXPORT(gibbs_propose_long)
RADFAST_EXPORT(gibbs_settle_totals)
RADFAST_EXPORT(gibbs_fill)
RADFAST_EXPORT(gibbs_read)
