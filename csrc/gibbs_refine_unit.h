// Rows of a round: see gibbs_refine.h. gibbs_refine.cpp includes this once for each instruction set, with
// RADFAST_ISA (a namespace). No templates of the library here: the linker could take the instance made for
// another instruction set.

namespace radfast::gibbs::refining::RADFAST_ISA {

// sum_l n_dl phi_wl over n topics of a document, in four running sums.
RADFAST_INLINE double weigh(const uint16_t* topics, const float* counts, int64_t n, const double* phi) {
    double a = 0, b = 0, c = 0, d = 0;
    int64_t j = 0;
    for (; j + 4 <= n; j += 4) {
        a += counts[j] * phi[topics[j]];
        b += counts[j + 1] * phi[topics[j + 1]];
        c += counts[j + 2] * phi[topics[j + 2]];
        d += counts[j + 3] * phi[topics[j + 3]];
    }
    for (; j < n; ++j) a += counts[j] * phi[topics[j]];
    return (a + b) + (c + d);
}

// Adds what some entries weigh in each topic to `sums`, but for phi and alpha; returns the sum of their
// scales, which alpha is to be multiplied by.
RADFAST_INLINE double add_entries(const Mixtures& mixtures, const Entry* entries, int64_t n,
                                  const double* phi, double rest, double* sums) {
    double scales = 0;
    for (int64_t i = 0; i < n; ++i) {
        if (i + kAhead < n) {
            const int64_t begin = mixtures.start[entries[i + kAhead].document];
            __builtin_prefetch(mixtures.topics + begin);
            __builtin_prefetch(mixtures.counts + begin);
        }
        const Entry entry = entries[i];
        const int64_t begin = mixtures.start[entry.document];
        const int64_t size = mixtures.start[entry.document + 1] - begin;
        const uint16_t* topics = mixtures.topics + begin;
        const float* counts = mixtures.counts + begin;
        const double others = weigh(topics, counts, size, phi) - phi[entry.topic];
        const double scale = entry.n_tokens / ((others > 0 ? others : 0) + rest);
#pragma GCC unroll 4
        for (int64_t j = 0; j < size; ++j) sums[topics[j]] += counts[j] * scale;
        sums[entry.topic] -= scale;
        scales += scale;
    }
    return scales;
}

// Adds the row as it is in the end to `totals`.
void work(const Round& round, const Entry* entries, int64_t n, const float* inverse, float* row,
          double* totals, const Scratch& scratch) {
    const int stride = round.stride;
    const float* const alpha = round.alpha;
    double *const phi = scratch.phi, *const sums = scratch.sums;
    for (int step = 0; step < kSteps; ++step) {
        double priors[kBlock] = {};
        for (int block = 0; block < stride; block += kBlock) {
            for (int lane = 0; lane < kBlock; ++lane) {
                const int k = block + lane;
                phi[k] = (row[k] + round.eta) * inverse[k];
                priors[lane] += alpha[k] * phi[k];
                sums[k] = 0;
            }
        }
        double prior = 0;
        for (const double part : priors) prior += part;
        const double rest = prior > kLeast ? prior : kLeast;
        const double scales = add_entries(round.mixtures, entries, n, phi, rest, sums);
        for (int k = 0; k < stride; ++k) {
            const double sum = (sums[k] > 0 ? sums[k] : 0) + alpha[k] * scales;
            row[k] = static_cast<float>(sum * phi[k]);
        }
    }
    for (int k = 0; k < stride; ++k) totals[k] += row[k];
}

}  // namespace radfast::gibbs::refining::RADFAST_ISA
