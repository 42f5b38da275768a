/* W3 in plain C: the limit for sim/tree_kernels.py. The trees are defined there and in w3_search.py.
 *
 * PUCT keeps a node in one block of floats: mean values, priors, reciprocals 1/(1 + visits), and child numbers, so that
 * a level touches one cache line at b = 4. Sampling runs LANES paths side by side without branches. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#define LANES 64
#define MOST_B 8
#define MOST_D 64


typedef struct { int b, d; float p, gap, noise; } Tree;
typedef union { float f; int32_t i; } Cell;
typedef struct { uint32_t word; int32_t right, good, visits; } Info;

static inline __attribute__((always_inline)) uint32_t finish(uint32_t x) {
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}
static inline __attribute__((always_inline)) float fraction(uint32_t x) { return (float)(int32_t)(x >> 8) * 0x1p-24f; }
static inline __attribute__((always_inline)) uint32_t descend(uint32_t w, uint32_t a) {
    return finish(w + (a + 1u) * 0x9e3779b1u);
}
static inline __attribute__((always_inline)) int choice(uint32_t w, int b) {
    return (int)(finish(w ^ 0x68e31da4u) % (uint32_t)b);
}
static inline __attribute__((always_inline)) float weight(uint32_t w, int a) {
    return 0.25f + 1.5f * fraction(finish(w ^ (0xb5297a4du + (uint32_t)a)));
}
static inline uint64_t finish64(uint64_t x) {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

static inline __attribute__((always_inline)) void unfold(Cell *c, Info *n, int b, float p) {
    float sum = 0.0f;
    n->good = choice(n->word, b);
    for (int a = 0; a < b; a++) {
        float w = a == n->good ? 0.0f : weight(n->word, a);
        c[b + a].f = w;
        sum += w;
        c[a].f = 0.0f;
        c[2 * b + a].f = 1.0f;
        c[3 * b + a].i = 0;
    }
    float rest = (1.0f - p) / sum;
    for (int a = 0; a < b; a++) c[b + a].f = a == n->good ? p : c[b + a].f * rest;
}

static inline __attribute__((always_inline)) int pick(const Cell *c, float e, int b) {
    int arg = 0;
    float best = c[0].f + e * c[b].f * c[2 * b].f;
    for (int a = 1; a < b; a++) {
        float s = c[a].f + e * c[b + a].f * c[2 * b + a].f;
        arg = s > best ? a : arg;
        best = s > best ? s : best;
    }
    return arg;
}

static inline __attribute__((always_inline)) int one_tree(const int b, Tree t, uint32_t root, int sims,
        const float *explore, const float *inverse, Cell *cells, Info *info, int *visits) {
    int used = 1, found = 0, path[MOST_D], turn[MOST_D];
    const int row = 4 * b;
    info[0] = (Info){root, 1, 0, 1};
    unfold(cells, info, b, t.p);
    for (int s = 0; s < sims; s++) {
        int at = 0, k = 0;
        float v;
        for (;;) {
            Cell *c = cells + (size_t)at * row;
            int a = pick(c, explore[info[at].visits], b);
            path[k] = at;
            turn[k++] = a;
            int next = c[3 * b + a].i;
            if (next && k < t.d) { at = next; continue; }
            if (next) { v = (float)info[next].right; break; }
            int right = info[at].right && a == info[at].good;
            uint32_t w = descend(info[at].word, (uint32_t)a);
            c[3 * b + a].i = used;
            info[used] = (Info){w, right, 0, 1};
            if (k == t.d) {
                v = (float)right;
                found |= right;
            } else {
                v = 0.5f + (right ? t.gap : -t.gap) + t.noise * (2.0f * fraction(finish(w ^ 0x1b56c4e9u)) - 1.0f);
                unfold(cells + (size_t)used * row, info + used, b, t.p);
            }
            used++;
            break;
        }
        while (k--) {
            Cell *c = cells + (size_t)path[k] * row + turn[k];
            int n = (int)(1.0f / c[2 * b].f + 0.5f);
            info[path[k]].visits++;
            c[0].f += (v - c[0].f) * inverse[n];
            c[2 * b].f = inverse[n + 1];
        }
    }
    for (int a = 0; a < b; a++) visits[a] = (int)(1.0f / cells[2 * b + a].f + 0.5f) - 1;
    return found;
}

void limit_puct(int problems, int b, int d, int sims, float p, float gap, float noise, uint32_t world, int threads,
                int *visits, uint8_t *found) {
    float *explore = malloc(sizeof(float) * (sims + 3)), *inverse = malloc(sizeof(float) * (sims + 3));
    for (int n = 0; n < sims + 3; n++) {
        explore[n] = (float)((1.25 + log((n + 19653.0) / 19652.0)) * sqrt((double)n));
        inverse[n] = n ? (float)(1.0 / n) : 0.0f;
    }
    Tree t = {b, d, p, gap, noise};
#pragma omp parallel num_threads(threads)
    {
        Cell *cells = aligned_alloc(64, (size_t)(sims + 2) * 4 * b * sizeof(Cell));
        Info *info = malloc(sizeof(Info) * (sims + 2));
#pragma omp for schedule(dynamic, 16)
        for (int q = 0; q < problems; q++) {
            uint32_t root = finish((uint32_t)q * 2654435761u + world);
            int *v = visits + (size_t)q * b;
            found[q] = (uint8_t)(b == 4 ? one_tree(4, t, root, sims, explore, inverse, cells, info, v)
                                        : one_tree(8, t, root, sims, explore, inverse, cells, info, v));
        }
        free(cells);
        free(info);
    }
    free(explore);
    free(inverse);
}

static inline __attribute__((always_inline)) void step(const int b, float p, uint32_t *w, int32_t *on, const float *u) {
#pragma omp simd
    for (int l = 0; l < LANES; l++) {
        float part[MOST_B], sum = 0.0f, upto = 0.0f;
        int good = choice(w[l], b), a = 0;
        for (int j = 0; j < b; j++) {
            part[j] = j == good ? 0.0f : weight(w[l], j);
            sum += part[j];
        }
        float rest = (1.0f - p) / sum;
        for (int j = 0; j < b - 1; j++) {
            upto += j == good ? p : part[j] * rest;
            a += u[l] >= upto;
        }
        on[l] &= a == good;
        w[l] = descend(w[l], (uint32_t)a);
    }
}

static inline __attribute__((always_inline)) void one_vote(const int b, Tree t, uint32_t root, int n, uint64_t key,
        float spread, uint8_t *found, uint8_t *picked) {
    float best = -1e30f, u[LANES];
    uint32_t w[LANES];
    int32_t on[LANES];
    *found = *picked = 0;
    for (int first = 0; first < n; first += LANES) {
        for (int l = 0; l < LANES; l++) { w[l] = root; on[l] = 1; }
        for (int k = 0; k < t.d; k++) {
            uint64_t at = key + (uint64_t)(first / LANES * t.d + k) * (LANES / 2) * 0x9e3779b97f4a7c15ull;
            for (int l = 0; l < LANES / 2; l++) {
                uint64_t x = finish64(at + (uint64_t)(l + 1) * 0x9e3779b97f4a7c15ull);
                u[2 * l] = fraction((uint32_t)x);
                u[2 * l + 1] = fraction((uint32_t)(x >> 32));
            }
            step(b, t.p, w, on, u);
        }
        for (int l = 0; l < LANES && first + l < n; l++) {
            float s = (float)on[l] + spread * (2.0f * fraction(finish(w[l] ^ 0x7feb1b5bu)) - 1.0f);
            *found |= (uint8_t)on[l];
            if (s > best) { best = s; *picked = (uint8_t)on[l]; }
        }
    }
}

void limit_samples(int problems, int b, int d, int n, float p, float spread, uint32_t world, uint64_t seed, int threads,
                   uint8_t *found, uint8_t *picked) {
    Tree t = {b, d, p, 0.0f, 0.0f};
#pragma omp parallel for num_threads(threads) schedule(dynamic, 16)
    for (int q = 0; q < problems; q++) {
        uint32_t root = finish((uint32_t)q * 2654435761u + world);
        uint64_t key = finish64(finish64(seed + 0x9e3779b97f4a7c15ull) + (uint64_t)q * 0x9e3779b97f4a7c15ull);
        if (b == 4) one_vote(4, t, root, n, key, spread, found + q, picked + q);
        else one_vote(8, t, root, n, key, spread, found + q, picked + q);
    }
}
