/* The limit of the Fokker-Planck workload: the same schemes as sim/density_kernels.py, by hand in C, one thread.
 *
 * Exponentially fitted finite volumes on a line; I - hA eliminated from both ends with pivots that are sums of positive
 * terms; backward Euler, the two-solve SDIRK method of order 2, the rational exponential; in two dimensions Strang
 * splitting, with the lines of a direction in the contiguous index. rates and factors are made inside the timed call.
 * Built with -O3 -march=native -ffast-math.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROOT2 1.4142135623730951
#define GAMMA (1.0 - 1.0 / ROOT2)
#define TILE 128
#define PAD 8

/* w / (e^w - 1) for w >= 0 */
static inline double bernoulli(double w) {
    double q = w * w;
    double series = 1.0 - 0.5 * w + q * (1.0 / 12 - q * (1.0 / 720 - q * (1.0 / 30240 - q / 1209600.0)));
    double z = w < 0.0625 ? 1.0 : (w > 700.0 ? 700.0 : w);
    return w < 0.0625 ? series : w / (exp(z) - 1.0);   /* exp in a loop becomes a call of the vector maths library */
}

static void hop_rates(long faces, const double *restrict u, double temperature, double width, double *restrict right,
                      double *restrict left) {
    double k = temperature / (width * width);
    for (long i = 0; i < faces; i++) {
        double w = (u[i] - u[i + 1]) / temperature, a = fabs(w), less = k * bernoulli(a), more = less + k * a;
        right[i] = w > 0.0 ? less : more;
        left[i] = w > 0.0 ? more : less;
    }
}

typedef struct { double *gain, *feed, *back; } Factor;

static void factor(long n, double h, const double *right, const double *left, Factor f) {
    long m = n / 2, both = m < n - 1 - m ? m : n - 1 - m;
    double low = 1.0, high = 1.0, up = 1.0 / (1.0 + h * right[0]), down = 1.0 / (1.0 + h * left[n - 2]);
    f.gain[0] = up; f.feed[0] = 0.0; f.back[0] = h * left[0] * up;
    f.gain[n - 1] = down; f.feed[n - 1] = 0.0; f.back[n - 1] = h * right[n - 2] * down;
    for (long k = 1; k < (m > n - 1 - m ? m : n - 1 - m); k++) {
        long j = n - 1 - k;
        if (k < m) {
            low = 1.0 + h * left[k - 1] * low * up;
            up = 1.0 / (low + h * right[k]);
            f.gain[k] = up; f.feed[k] = h * right[k - 1] * up; f.back[k] = h * left[k] * up;
        }
        if (j > m) {
            high = 1.0 + h * right[j] * high * down;
            down = 1.0 / (high + h * left[j - 1]);
            f.gain[j] = down; f.feed[j] = h * left[j] * down; f.back[j] = h * right[j - 1] * down;
        }
    }
    (void)both;
    f.gain[m] = 1.0 / (1.0 + h * left[m - 1] * low * up + h * right[m] * high * down);
    f.feed[m] = h * right[m - 1] * f.gain[m];
    f.back[m] = h * left[m] * f.gain[m];
}

static void solve(long n, Factor f, const double *restrict p, double *restrict x) {
    const double *restrict gain = f.gain, *restrict feed = f.feed, *restrict back = f.back;
    long m = n / 2, above = n - 1 - m, both = m < above ? m : above;
    double up = 0.0, down = 0.0;
    for (long k = 0; k < both; k++) {
        long j = n - 1 - k;
        up = p[k] * gain[k] + feed[k] * up; x[k] = up;
        down = p[j] * gain[j] + feed[j] * down; x[j] = down;
    }
    for (long k = both; k < m; k++) { up = p[k] * gain[k] + feed[k] * up; x[k] = up; }
    for (long k = both; k < above; k++) {
        long j = n - 1 - k;
        down = p[j] * gain[j] + feed[j] * down; x[j] = down;
    }
    up = down = x[m] = p[m] * gain[m] + feed[m] * up + back[m] * down;
    for (long k = 1; k <= both; k++) {
        up = x[m - k] + back[m - k] * up; x[m - k] = up;
        down = x[m + k] + back[m + k] * down; x[m + k] = down;
    }
    for (long k = both + 1; k <= m; k++) { up = x[m - k] + back[m - k] * up; x[m - k] = up; }
    for (long k = both + 1; k <= above; k++) { down = x[m + k] + back[m + k] * down; x[m + k] = down; }
}

static double *room(long n) { return malloc(sizeof(double) * n); }

/* one step with a factorisation: x and y are scratch */
static void advance(long n, Factor f, int order, double *p, double *x, double *y) {
    solve(n, f, p, x);
    if (order == 1) { memcpy(p, x, sizeof(double) * n); return; }
    solve(n, f, x, y);
    for (long i = 0; i < n; i++) p[i] = (1.0 + ROOT2) * y[i] - ROOT2 * x[i];
}

void limit_steps(long n, const double *u, double temperature, double width, double time, long steps, int order,
                 double *p) {
    double *w = room(7 * n), h = time / steps;
    Factor f = {w + 2 * n, w + 3 * n, w + 4 * n};
    hop_rates(n - 1, u, temperature, width, w, w + n);
    factor(n, order == 1 ? h : GAMMA * h, w, w + n, f);
    for (long k = 0; k < steps; k++) advance(n, f, order, p, w + 5 * n, w + 6 * n);
    free(w);
}

/* reward u0 + amplitude[k] u1 in step k, backward Euler */
void limit_moving(long n, const double *u0, const double *u1, const double *amplitude, double temperature, double width,
                  double h, long steps, double *p) {
    double *w = room(8 * n);
    Factor f = {w + 2 * n, w + 3 * n, w + 4 * n};
    for (long k = 0; k < steps; k++) {
        for (long i = 0; i < n; i++) w[7 * n + i] = u0[i] + amplitude[k] * u1[i];
        hop_rates(n - 1, w + 7 * n, temperature, width, w, w + n);
        factor(n, h, w, w + n, f);
        advance(n, f, 1, p, w + 5 * n, w + 6 * n);
    }
    free(w);
}

/* exp(time A) p: poles (re, im) of alphas and thetas */
void limit_rational(long n, const double *u, double temperature, double width, double time, long poles,
                    const double *alphas, const double *thetas, double *p) {
    double *w = room(6 * n), *right = w, *left = w + n;
    double *xr = w + 2 * n, *xi = w + 3 * n, *gr = w + 4 * n, *gi = w + 5 * n;
    double mass = 0.0, after = 0.0;
    hop_rates(n - 1, u, temperature, width, right, left);
    right[n - 1] = left[n - 1] = 0.0;
    for (long i = 0; i < n; i++) mass += p[i];
    for (long k = 0; k < poles; k++) {
        double tr = thetas[2 * k], ti = thetas[2 * k + 1], ar = 2.0 * alphas[2 * k], ai = 2.0 * alphas[2 * k + 1];
        double a = 0.0, below = 0.0, g_r = 0.0, g_i = 0.0, x_r = 0.0, x_i = 0.0;
        for (long i = 0; i < n; i++) {
            double dr = tr + time * (right[i] + below) - a * g_r, di = ti - a * g_i, q = 1.0 / (dr * dr + di * di);
            double sr = a * x_r - p[i], si = a * x_i;
            x_r = (sr * dr + si * di) * q; x_i = (si * dr - sr * di) * q;
            below = left[i];
            g_r = time * below * dr * q; g_i = -time * below * di * q;
            xr[i] = x_r; xi[i] = x_i; gr[i] = g_r; gi[i] = g_i;
            a = time * right[i];
        }
        p[n - 1] += ar * x_r - ai * x_i;
        for (long i = n - 2; i >= 0; i--) {
            double next = xr[i] + gr[i] * x_r - gi[i] * x_i;
            x_i = xi[i] + gr[i] * x_i + gi[i] * x_r;
            x_r = next;
            p[i] += ar * x_r - ai * x_i;
        }
    }
    for (long i = 0; i < n; i++) { p[i] = p[i] > 0.0 ? p[i] : 0.0; after += p[i]; }
    for (long i = 0; i < n; i++) p[i] *= mass / after;
    free(w);
}

/* ---- two dimensions: n x n cells, rows padded to ld */
static void factor_lines(long n, long ld, const double *u, double temperature, double width, double h, Factor f) {
    double *w = room(5 * n), *right = w, *left = w + n, *right0 = w + 2 * n, *left0 = w + 3 * n, *s = w + 4 * n;
    double k = temperature / (width * width);
    for (long j = 0; j < n; j++) { s[j] = 1.0; right0[j] = left0[j] = 0.0; }
    for (long i = 0; i < n; i++) {
        const double *restrict ui = u + i * ld, *restrict un = ui + ld, *restrict gain0 = f.gain + (i - 1) * ld;
        double *restrict gain = f.gain + i * ld, *restrict feed = f.feed + i * ld, *restrict back = f.back + i * ld;
        for (long j = 0; j < n; j++) {
            double d = i + 1 < n ? (ui[j] - un[j]) / temperature : 0.0, a = fabs(d), less = k * bernoulli(a);
            double more = less + k * a;
            right[j] = i + 1 < n ? (d > 0.0 ? less : more) : 0.0;
            left[j] = i + 1 < n ? (d > 0.0 ? more : less) : 0.0;
        }
        if (i) for (long j = 0; j < n; j++) s[j] = 1.0 + h * left0[j] * s[j] * gain0[j];
        for (long j = 0; j < n; j++) {
            double e = 1.0 / (s[j] + h * right[j]);
            gain[j] = e; feed[j] = h * right0[j] * e; back[j] = h * left[j] * e;
        }
        memcpy(right0, right, sizeof(double) * n);
        memcpy(left0, left, sizeof(double) * n);
    }
    free(w);
}

static void solve_lines(long n, long ld, Factor f, const double *p, double *x, long start, long stop) {
    for (long j = start; j < stop; j++) x[j] = p[j] * f.gain[j];
    for (long i = 1; i < n; i++) {
        const double *restrict pi = p + i * ld, *restrict gain = f.gain + i * ld, *restrict feed = f.feed + i * ld;
        double *restrict xi = x + i * ld;
        const double *restrict before = xi - ld;
        for (long j = start; j < stop; j++) xi[j] = pi[j] * gain[j] + feed[j] * before[j];
    }
    for (long i = n - 2; i >= 0; i--) {
        const double *restrict back = f.back + i * ld;
        double *restrict xi = x + i * ld;
        const double *restrict after = xi + ld;
        for (long j = start; j < stop; j++) xi[j] += back[j] * after[j];
    }
}

static void advance_lines(long n, long ld, Factor f, double *p, double *x, double *y) {
    for (long start = 0; start < n; start += TILE) {
        long stop = start + TILE < n ? start + TILE : n;
        solve_lines(n, ld, f, p, x, start, stop);
        solve_lines(n, ld, f, x, y, start, stop);
        for (long i = 0; i < n; i++) {
            double *restrict pi = p + i * ld;
            const double *restrict xi = x + i * ld, *restrict yi = y + i * ld;
            for (long j = start; j < stop; j++) pi[j] = (1.0 + ROOT2) * yi[j] - ROOT2 * xi[j];
        }
    }
}

static void transpose(long n, long ld, const double *restrict a, double *restrict b) {
    for (long i0 = 0; i0 < n; i0 += 16)
        for (long j0 = 0; j0 < n; j0 += 16)
            for (long j = j0; j < j0 + 16 && j < n; j++)
                for (long i = i0; i < i0 + 16 && i < n; i++) b[j * ld + i] = a[i * ld + j];
}

void limit_split(long n, const double *u, double temperature, double width, double time, long steps, double *p0) {
    long ld = n + PAD, size = n * ld;
    double *w = aligned_alloc(64, ((sizeof(double) * 15 * size + 63) / 64) * 64), h = time / steps;
    Factor half = {w, w + size, w + 2 * size}, full = {w + 3 * size, w + 4 * size, w + 5 * size};
    Factor across = {w + 6 * size, w + 7 * size, w + 8 * size};
    double *x = w + 9 * size, *y = w + 10 * size, *p = w + 11 * size, *q = w + 12 * size;
    double *ux = w + 13 * size, *uy = w + 14 * size;
    for (long i = 0; i < n; i++)
        for (long j = 0; j < n; j++) {
            p[i * ld + j] = p0[i * n + j];
            ux[i * ld + j] = uy[j * ld + i] = u[i * n + j];
        }
    factor_lines(n, ld, ux, temperature, width, 0.5 * GAMMA * h, half);
    factor_lines(n, ld, ux, temperature, width, GAMMA * h, full);
    factor_lines(n, ld, uy, temperature, width, GAMMA * h, across);
    advance_lines(n, ld, half, p, x, y);
    for (long k = 0; k < steps; k++) {
        transpose(n, ld, p, q);
        advance_lines(n, ld, across, q, x, y);
        transpose(n, ld, q, p);
        advance_lines(n, ld, k + 1 < steps ? full : half, p, x, y);
    }
    for (long i = 0; i < n; i++) memcpy(p0 + i * n, p + i * ld, sizeof(double) * n);
    free(w);
}
