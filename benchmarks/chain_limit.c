/* The limit of the chain workload: the same algorithm as sim/chain_kernels.py, by hand in C, one thread.
 *
 * Same streams, same bytes, same settling of ties, so that counts agree to the last one and a ratio compares nothing but
 * compilers. Built with -O3 -march=native -ffast-math; log in a loop becomes a call of the C library's vector maths, sine
 * and cosine are written out (as a pair they are not vectorised). With AVX-512 the comparisons and masked sums are
 * intrinsics, without it plain loops.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef __AVX512BW__
#include <immintrin.h>
#endif

#define LANES 512
#define WORDS 8
#define ROWS 4
#define EVENT_LANES 65536
#define DRAWS 1024

enum { STEPS = 1, STEP_TIES, MOVES, MOVE_TIES, VERIFIER, VERIFIER_TIES, RETURN_NOISE, REWARD_NOISE, EVENTS };

static const uint64_t GOLD = 0x9E3779B97F4A7C15ull;

typedef struct {
    int64_t length, rollouts, lanes, group;
    uint64_t seed;
    const uint8_t *wrong_levels; const uint64_t *wrong_rest;      /* [L, 2], [L] */
    const uint8_t *move_levels; const uint64_t *move_rest;        /* [3, L, 2], [3, L] */
    const int64_t *move_kind;                                     /* [3]: 0 never, 1 always, 2 drawn */
    const uint8_t *verdict_levels; const uint64_t *verdict_rest;  /* [2, 2], [2] */
    int64_t moves, linear;
    const float *weights;                                         /* [padded L] */
    const double *inverse_rate;                                   /* [L], 1 / -log p */
    float baseline, noise;
} Job;

typedef struct {
    uint64_t *wrong, *moves;                                      /* [padded L, 8], [3, L, 8] */
    uint64_t state[WORDS], outcome[WORDS], active[WORDS];
    float reward[LANES] __attribute__((aligned(64))), advantage[LANES] __attribute__((aligned(64)));
    float normal[LANES] __attribute__((aligned(64)));
} Block;

/* ------------------------------------------------------------ words */
static inline uint64_t mix64(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

static inline uint64_t stream_key(uint64_t seed, uint64_t stream, uint64_t index) {
    return mix64(mix64(mix64(seed + GOLD) + stream * 0xD1342543DE82EF95ull) + index * GOLD);
}

static inline uint64_t draw(uint64_t key, uint64_t i) { return mix64(key + (i + 1) * GOLD); }

static inline void fill_words(uint64_t *words, int n, uint64_t key, uint64_t first) {
    uint64_t base = key + (first + 1) * GOLD;
    for (int j = 0; j < n; j++) words[j] = mix64(base + (uint64_t)j * GOLD);
}

/* ------------------------------------------------------------ bits */
static inline void compare(const uint64_t *words, uint8_t level, uint64_t *below, uint64_t *equal) {
#ifdef __AVX512BW__
    __m512i drawn = _mm512_loadu_si512(words), q = _mm512_set1_epi8((char)level);
    *below = _mm512_cmplt_epu8_mask(drawn, q);
    *equal = _mm512_cmpeq_epu8_mask(drawn, q);
#else
    const uint8_t *b = (const uint8_t *)words;
    uint64_t x = 0, y = 0;
    for (int k = 0; k < 64; k++) { x |= (uint64_t)(b[k] < level) << k; y |= (uint64_t)(b[k] == level) << k; }
    *below = x; *equal = y;
#endif
}

static uint64_t settle(uint64_t ties, uint64_t rest, uint64_t key, uint64_t counter) {
    uint64_t ones = 0;
    for (; ties; ties &= ties - 1) {
        uint64_t lane = (uint64_t)__builtin_ctzll(ties);
        ones |= (uint64_t)((draw(key, counter + lane) >> 8) < rest) << lane;
    }
    return ones;
}

static void bernoulli_rows(uint64_t *out, int64_t rows, const uint8_t *levels, const uint64_t *rests, uint64_t key,
                           uint64_t tie_key) {
    uint64_t words[LANES / 8 + 8] __attribute__((aligned(64))), ties[WORDS];
    for (int64_t t = 0; t < rows; t++) {
        fill_words(words, LANES / 8 + 8, key, (uint64_t)t * (LANES / 8 + 8));
        uint64_t *row = out + t * WORDS, seen = 0, clash = 0, low, again;
        for (int i = 0; i < WORDS; i++) {
            compare(words + 8 * i, levels[2 * t], &row[i], &ties[i]);
            clash |= seen & ties[i];
            seen |= ties[i];
        }
        compare(words + LANES / 8, levels[2 * t + 1], &low, &again);
        uint64_t counter = (uint64_t)t * LANES;
        if (clash) {
            uint64_t rest = ((uint64_t)levels[2 * t + 1] << 48) + rests[t];
            for (int i = 0; i < WORDS; i++) row[i] |= settle(ties[i], rest, tie_key, counter + 64 * (uint64_t)i);
        } else {
            for (int i = 0; i < WORDS; i++) row[i] |= ties[i] & low;
            if (seen & again)
                for (int i = 0; i < WORDS; i++)
                    row[i] |= settle(ties[i] & again, rests[t] << 8, tie_key, counter + 64 * (uint64_t)i);
        }
    }
}

/* ------------------------------------------------------------ one block */
static void make_block(const Job *job, Block *b) {
    int64_t length = job->length;
    size_t padded = (size_t)((length + ROWS - 1) / ROWS * ROWS);
    b->wrong = aligned_alloc(64, padded * 64);
    memset(b->wrong, 0, padded * 64);
    b->moves = aligned_alloc(64, 3 * (size_t)length * 64);
    for (int k = 0; k < 3; k++)
        memset(b->moves + k * length * WORDS, job->move_kind[k] == 1 ? 0xFF : 0, (size_t)length * 64);
}

static void free_block(Block *b) { free(b->wrong); free(b->moves); }

static void draw_moves(const Job *job, Block *b, uint64_t block) {
    uint64_t key = stream_key(job->seed, MOVES, block), tie_key = stream_key(job->seed, MOVE_TIES, block);
    for (int k = 0; k < 3; k++) {
        uint64_t *rows = b->moves + k * job->length * WORDS;
        if (job->move_kind[k] == 2)
            bernoulli_rows(rows, job->length, job->move_levels + 2 * k * job->length,
                           job->move_rest + k * job->length, key, tie_key);
    }
}

typedef uint64_t Bits __attribute__((vector_size(64)));

static void run_states(const Job *job, Block *b) {
    const Bits *w = (const Bits *)b->wrong, *stay = (const Bits *)b->moves, *forgiven = stay + job->length;
    const Bits *back = forgiven + job->length;
    Bits z = ~(Bits){0};
    if (job->moves)
        for (int64_t t = 0; t < job->length; t++)
            z = (z & ((stay[t] & ~w[t]) | (forgiven[t] & w[t]))) | (~z & back[t]);
    else
        for (int64_t t = 0; t < job->length; t++) z &= ~w[t];
    memcpy(b->state, &z, sizeof z);
}

static int run_block(const Job *job, Block *b, uint64_t block) {
    int64_t left = job->rollouts - (int64_t)block * job->lanes;
    int n = (int)(left < job->lanes ? left : job->lanes);
    for (int i = 0; i < WORDS; i++) {
        int here = n - 64 * i;
        b->active[i] = here >= 64 ? ~0ull : here <= 0 ? 0 : (1ull << here) - 1;
    }
    bernoulli_rows(b->wrong, job->length, job->wrong_levels, job->wrong_rest, stream_key(job->seed, STEPS, block),
                   stream_key(job->seed, STEP_TIES, block));
    if (job->moves) draw_moves(job, b, block);
    run_states(job, b);
    uint64_t verdict[2 * WORDS];
    bernoulli_rows(verdict, 2, job->verdict_levels, job->verdict_rest, stream_key(job->seed, VERIFIER, block),
                   stream_key(job->seed, VERIFIER_TIES, block));
    for (int i = 0; i < WORDS; i++) {
        uint64_t z = b->state[i];
        b->outcome[i] = ((z & verdict[i]) | (~z & verdict[WORDS + i])) & b->active[i];
    }
    return n;
}

static int64_t blocks_of(const Job *job) { return (job->rollouts + job->lanes - 1) / job->lanes; }

/* ------------------------------------------------------------ counts: out [2 L + 1] */
void limit_counts(const Job *job, int64_t *out) {
    Block b;
    make_block(job, &b);
    memset(out, 0, sizeof(int64_t) * (size_t)(2 * job->length + 1));
    for (int64_t block = 0; block < blocks_of(job); block++) {
        run_block(job, &b, (uint64_t)block);
        for (int i = 0; i < WORDS; i++) out[2 * job->length] += __builtin_popcountll(b.outcome[i]);
        for (int64_t t = 0; t < job->length; t++) {
            int64_t x = 0, y = 0;
            for (int i = 0; i < WORDS; i++) {
                x += __builtin_popcountll(b.wrong[t * WORDS + i] & b.active[i]);
                y += __builtin_popcountll(b.wrong[t * WORDS + i] & b.outcome[i]);
            }
            out[t] += x;
            out[job->length + t] += y;
        }
    }
    free_block(&b);
}

/* ------------------------------------------------------------ weighted sums */
static void fill_normals(float *out, uint64_t key, uint64_t first) {
    uint64_t words[LANES / 2] __attribute__((aligned(64)));
    uint32_t bits[LANES] __attribute__((aligned(64)));
    fill_words(words, LANES / 2, key, first);
    memcpy(bits, words, sizeof bits);
    for (int j = 0; j < LANES / 2; j++) {
        float u = (float)bits[j] * 0x1p-32f + 0x1p-33f, v = (float)(int32_t)bits[LANES / 2 + j] * 0x1p-31f;
        int32_t shifted, kept;
        float m;
        memcpy(&shifted, &u, 4);
        shifted -= 0x3F3504F3;
        kept = (shifted & 0x7FFFFF) + 0x3F3504F3;
        memcpy(&m, &kept, 4);
        float s = (m - 1.0f) / (m + 1.0f), q = s * s, h = v * v;
        float log_u = (float)(shifted >> 23) * 0.693147181f
            + 2.0f * s * (1.0f + q * (1 / 3.0f + q * (1 / 5.0f + q * (1 / 7.0f + q * (1 / 9.0f)))));
        float radius = sqrtf(fmaxf(-2.0f * log_u, 0.0f));
        float sine = v * (1.57079633f + h * (-0.645964098f + h * (0.0796926262f + h * (-0.00468175414f
            + h * (0.000160441185f + h * -3.59884324e-6f)))));
        float cosine = 1.0f + h * (-1.23370055f + h * (0.253669508f + h * (-0.0208634807f + h * (0.000919260274f
            + h * (-2.52020424e-5f + h * 4.71087478e-7f)))));
        out[j] = radius * (1.0f - 2.0f * sine * sine);
        out[LANES / 2 + j] = radius * 2.0f * sine * cosine;
    }
}

static void fill_advantages(float *a, const float *r, int n, int all, int64_t group, float baseline) {
    if (group == 1)
        for (int j = 0; j < n; j++) a[j] = r[j] - baseline;
    else
        for (int g = 0; g < n; g += (int)group) {
            float total = 0;
            for (int j = 0; j < group; j++) total += r[g + j];
            for (int j = 0; j < group; j++) a[g + j] = r[g + j] - (total - r[g + j]) / (float)(group - 1);
        }
    for (int j = n; j < all; j++) a[j] = 0.0f;
}

static void unpack_outcome(Block *b) {
    for (int j = 0; j < LANES; j++) b->reward[j] = (float)((b->outcome[j >> 6] >> (j & 63)) & 1);
}

#ifdef __AVX512BW__
static inline __mmask16 lanes_of(const uint64_t *row, int j) { return ((const __mmask16 *)row)[j]; }
#endif

static inline __attribute__((always_inline)) void masked_sums(const uint64_t *rows, int count, const float *values, double *out, int stride) {
#ifdef __AVX512BW__
    __m512 x[ROWS], y[ROWS];
#pragma GCC unroll 4
    for (int k = 0; k < count; k++) x[k] = y[k] = _mm512_setzero_ps();
#pragma GCC unroll 2
    for (int j = 0; j < LANES / 16; j++) {
        __m512 v = _mm512_load_ps(values + 16 * j), v2 = _mm512_mul_ps(v, v);
#pragma GCC unroll 4
        for (int k = 0; k < count; k++) {
            __mmask16 m = lanes_of(rows + k * WORDS, j);
            x[k] = _mm512_mask_add_ps(x[k], m, x[k], v);
            y[k] = _mm512_mask_add_ps(y[k], m, y[k], v2);
        }
    }
#pragma GCC unroll 4
    for (int k = 0; k < count; k++) {
        out[k * stride] += _mm512_reduce_add_ps(x[k]);
        out[k * stride + 1] += _mm512_reduce_add_ps(y[k]);
    }
#else
    for (int k = 0; k < count; k++) {
        float x = 0, y = 0;
        for (int j = 0; j < LANES; j++) {
            float v = ((rows[k * WORDS + (j >> 6)] >> (j & 63)) & 1) ? values[j] : 0.0f;
            x += v; y += v * v;
        }
        out[k * stride] += x; out[k * stride + 1] += y;
    }
#endif
}

static void linear_reward(const Job *job, Block *b, uint64_t key) {
    double total = 0;
    for (int64_t t = 0; t < job->length; t++) total += job->weights[t];
    for (int j = 0; j < LANES; j++) b->reward[j] = (float)total;
    for (int64_t t = 0; t < job->length; t += ROWS)
#ifdef __AVX512BW__
        for (int j = 0; j < LANES / 16; j++) {
            __m512 v = _mm512_load_ps(b->reward + 16 * j);
#pragma GCC unroll 4
            for (int k = 0; k < ROWS; k++)
                v = _mm512_mask_sub_ps(v, lanes_of(b->wrong + (t + k) * WORDS, j), v, _mm512_set1_ps(job->weights[t + k]));
            _mm512_store_ps(b->reward + 16 * j, v);
        }
#else
        for (int k = 0; k < ROWS; k++)
            for (int j = 0; j < LANES; j++)
                b->reward[j] -= ((b->wrong[(t + k) * WORDS + (j >> 6)] >> (j & 63)) & 1) ? job->weights[t + k] : 0.0f;
#endif
    fill_normals(b->normal, key, 0);
    for (int j = 0; j < LANES; j++) b->reward[j] += job->noise * b->normal[j];
}

/* sums [padded L, 2]: A, A^2 over wrong rollouts; totals [3]: A, A^2, R over all */
void limit_weighted(const Job *job, double *sums, double *totals) {
    Block b;
    int64_t padded = (job->length + ROWS - 1) / ROWS * ROWS;
    make_block(job, &b);
    memset(sums, 0, sizeof(double) * 2 * (size_t)padded);
    memset(totals, 0, sizeof(double) * 3);
    for (int64_t block = 0; block < blocks_of(job); block++) {
        int n = run_block(job, &b, (uint64_t)block);
        if (job->linear) linear_reward(job, &b, stream_key(job->seed, REWARD_NOISE, (uint64_t)block));
        else unpack_outcome(&b);
        fill_advantages(b.advantage, b.reward, n, LANES, job->group, job->baseline);
        for (int j = 0; j < n; j++) {
            totals[0] += b.advantage[j];
            totals[1] += b.advantage[j] * b.advantage[j];
            totals[2] += b.reward[j];
        }
        for (int64_t t = 0; t < padded; t += ROWS)
            masked_sums(b.wrong + t * WORDS, ROWS, b.advantage, sums + 2 * t, 2);
    }
    free_block(&b);
}

/* sums [L, 4]: A_t, A_t^2 over wrong rollouts, then over all; totals [3]: only R */
void limit_noisy(const Job *job, double *sums, double *totals) {
    Block b;
    make_block(job, &b);
    memset(sums, 0, sizeof(double) * 4 * (size_t)job->length);
    memset(totals, 0, sizeof(double) * 3);
    for (int64_t block = 0; block < blocks_of(job); block++) {
        int n = run_block(job, &b, (uint64_t)block);
        uint64_t pair[2 * WORDS], key = stream_key(job->seed, RETURN_NOISE, (uint64_t)block);
        unpack_outcome(&b);
        for (int j = 0; j < n; j++) totals[2] += b.reward[j];
        if (job->group == 1)
            for (int j = 0; j < LANES; j++) b.reward[j] -= job->baseline;
        memcpy(pair + WORDS, b.active, sizeof b.active);
        for (int64_t t = job->length - 1; t >= 0; t--) {
            fill_normals(b.normal, key, (uint64_t)t * (LANES / 2));
            for (int j = 0; j < LANES; j++) b.reward[j] += job->noise * b.normal[j];
            if (job->group > 1) fill_advantages(b.advantage, b.reward, n, LANES, job->group, 0.0f);
            for (int i = 0; i < WORDS; i++) pair[i] = b.wrong[t * WORDS + i] & b.active[i];
            masked_sums(pair, 2, job->group > 1 ? b.advantage : b.reward, sums + 4 * t, 2);
        }
    }
    free_block(&b);
}

/* ------------------------------------------------------------ rare errors, one by one: sums [L, 2], totals [3] */
void limit_events(const Job *job, double *sums, double *totals) {
    int64_t room = 1 << 17, *start = malloc(sizeof(int64_t) * (size_t)(job->length + 1));
    uint16_t *at = malloc(sizeof(uint16_t) * (size_t)room);
    float *r = aligned_alloc(64, sizeof(float) * EVENT_LANES), *a = aligned_alloc(64, sizeof(float) * EVENT_LANES);
    double gaps[DRAWS] __attribute__((aligned(64)));
    uint64_t words[DRAWS] __attribute__((aligned(64)));
    memset(sums, 0, sizeof(double) * 2 * (size_t)job->length);
    memset(totals, 0, sizeof(double) * 3);
    for (int64_t block = 0; block < blocks_of(job); block++) {
        int64_t left = job->rollouts - block * job->lanes, count = 0;
        int n = (int)(left < job->lanes ? left : job->lanes), used = DRAWS;
        uint64_t key = stream_key(job->seed, EVENTS, (uint64_t)block), made = 0;
        for (int j = 0; j < n; j++) r[j] = 1.0f;
        for (int64_t t = 0; t < job->length; t++) {
            start[t] = count;
            for (double m = -1.0;;) {
                if (used == DRAWS) {
                    fill_words(words, DRAWS, key, made);
                    for (int j = 0; j < DRAWS; j++)
                        gaps[j] = -log(((double)(int64_t)(words[j] >> 12) + 0.5) * 0x1p-52);
                    made += DRAWS;
                    used = 0;
                }
                m += 1.0 + floor(gaps[used++] * job->inverse_rate[t]);
                if (!(m < n)) break;
                if (count == room) at = realloc(at, sizeof(uint16_t) * (size_t)(room *= 2));
                at[count++] = (uint16_t)m;
                r[(int)m] = 0.0f;
            }
        }
        start[job->length] = count;
        fill_advantages(a, r, n, n, job->group, job->baseline);
        for (int64_t t = 0; t < job->length; t++) {
            double x = 0, y = 0;
            for (int64_t e = start[t]; e < start[t + 1]; e++) { x += a[at[e]]; y += (double)a[at[e]] * a[at[e]]; }
            sums[2 * t] += x;
            sums[2 * t + 1] += y;
        }
        for (int j = 0; j < n; j++) { totals[0] += a[j]; totals[1] += a[j] * a[j]; totals[2] += r[j]; }
    }
    free(start); free(at); free(r); free(a);
}
