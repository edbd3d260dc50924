/* Loops over cells of a mesh whose operators are sums of element tensors, y = sum_c P_c' K_c P_c x.

   NV nodes a cell and BS unknowns a node are given to the compiler, so that it unrolls and
   vectorises. A field is an array over the nodes of this rank, owned ones first, the BS unknowns of
   a node together; M fields come as pointers. Nothing here communicates. */

#include <math.h>
#include <stdint.h>

#define N (NV * BS)
#define PAIRS (NV * (NV + 1) / 2)
#define AHEAD 2048 /* bytes: one stream of blocks is too slow for the processor to run ahead of */

static inline void prefetch(const double *from, int64_t bytes)
{
    for (int64_t at = 0; at < bytes; at += 64)
        __builtin_prefetch((const char *)from + AHEAD + at);
}

/* y += c K u, K symmetric, by columns: the inner loop is over contiguous entries. */
static inline void add_product(const double *restrict K, const int32_t *restrict nodes, double c,
                               const double *restrict x, double *restrict y)
{
    double sum[N];
    for (int i = 0; i < N; i++) sum[i] = 0.0;
    for (int a = 0; a < NV; a++) {
        const double *u = x + (int64_t)BS * nodes[a];
        for (int k = 0; k < BS; k++) {
            const double s = c * u[k];
            const double *column = K + (a * BS + k) * N;
            for (int i = 0; i < N; i++) sum[i] += column[i] * s;
        }
    }
    for (int a = 0; a < NV; a++) {
        double *v = y + (int64_t)BS * nodes[a];
        for (int k = 0; k < BS; k++) v[k] += sum[a * BS + k];
    }
}

/* Cells of one shape: K_c = scale[c] K. */
void product_scaled(int64_t cells, const int32_t *nodes, const double *K, const double *scale,
                    int64_t fields, const double *const *x, double *const *y)
{
    for (int64_t c = 0; c < cells; c++)
        for (int64_t m = 0; m < fields; m++) add_product(K, nodes + c * NV, scale[c], x[m], y[m]);
}

void diagonal_scaled(int64_t cells, const int32_t *nodes, const double *K, const double *scale,
                     double *y)
{
    for (int64_t c = 0; c < cells; c++)
        for (int a = 0; a < NV; a++)
            for (int k = 0; k < BS; k++)
                y[(int64_t)BS * nodes[c * NV + a] + k] += scale[c] * K[(a * BS + k) * (N + 1)];
}

/* Galerkin tensors of the parents: G_p = sum over children of scale[c] B_class(c). */
void coarsen_scaled(int64_t cells, const int32_t *parent, const int32_t *class,
                    const double *scale, const double *B, double *G)
{
    for (int64_t c = 0; c < cells; c++) {
        double *restrict g = G + (int64_t)parent[c] * N * N;
        const double *restrict b = B + (int64_t)class[c] * N * N;
        const double s = scale[c];
        for (int i = 0; i < N * N; i++) g[i] += s * b[i];
    }
}

/* G_p = sum over children of (Q x I)' K_c (Q x I), Q the child's interpolation, NV x NV. */
void coarsen(int64_t cells, const int32_t *parent, const int32_t *class, const double *K,
             const double *Q, double *G)
{
    for (int64_t c = 0; c < cells; c++) {
        const double *k = K + c * N * N;
        const double *q = Q + (int64_t)class[c] * NV * NV;
        double *restrict g = G + (int64_t)parent[c] * N * N;
        double half[N * N]; /* (Q x I)' K_c */
        for (int i = 0; i < N * N; i++) half[i] = 0.0;
        for (int child = 0; child < NV; child++)
            for (int a = 0; a < NV; a++) {
                const double w = q[child * NV + a];
                if (w == 0.0) continue;
                for (int i = 0; i < BS * N; i++) half[a * BS * N + i] += w * k[child * BS * N + i];
            }
        for (int row = 0; row < N; row++)
            for (int child = 0; child < NV; child++)
                for (int a = 0; a < NV; a++) {
                    const double w = q[child * NV + a];
                    if (w == 0.0) continue;
                    for (int j = 0; j < BS; j++)
                        g[row * N + a * BS + j] += w * half[row * N + child * BS + j];
                }
    }
}

/* Symmetric matrices by rows of nodal blocks, of which the upper half is stored: the blocks of a row
   from its diagonal on, each by columns. `place` says to which block each pair of a cell's
   nodes belongs, -1 for pairs below the diagonal. */
static inline void add_block(double *block, double c, const double *k, int64_t stride)
{
    for (int j = 0; j < BS; j++)
        for (int i = 0; i < BS; i++) block[j * BS + i] += c * k[i * stride + j];
}

/* From full tensors, N x N by rows. */
void assemble(int64_t cells, const int32_t *place, const double *K, double *blocks)
{
    for (int64_t c = 0; c < cells; c++)
        for (int a = 0; a < NV; a++)
            for (int b = 0; b < NV; b++) {
                const int64_t at = place[(c * NV + a) * NV + b];
                if (at >= 0)
                    add_block(blocks + at * BS * BS, 1.0, K + c * N * N + a * BS * N + b * BS, N);
            }
}

/* From the upper pairs of nodes of each tensor, scaled. */
void assemble_scaled(int64_t cells, const int32_t *place, const double *K, const double *scale,
                     double *blocks)
{
    for (int64_t c = 0; c < cells; c++)
        for (int64_t p = c * PAIRS; p < (c + 1) * PAIRS; p++) {
            prefetch(K + p * BS * BS, 8 * BS * BS);
            add_block(blocks + (int64_t)place[p] * BS * BS, scale[c], K + p * BS * BS, BS);
        }
}

/* Those tensors by the form compiler's kernel for a coefficient of one. The pairs are in the order
   of the nodes order[c], positions in the cell. */
typedef void tabulate_tensor(double *, const double *, const double *, const double *, const int *,
                             const uint8_t *, void *);

void tabulate(int64_t cells, void *kernel, const double *constants, int64_t corners,
              const int32_t *geometry, const double *points, const int32_t *order, double *x,
              double *K)
{
    const double one = 1.0;
    for (int64_t c = 0; c < cells; c++) {
        double full[N * N];
        for (int i = 0; i < N * N; i++) full[i] = 0.0;
        for (int64_t a = 0; a < corners; a++)
            for (int k = 0; k < 3; k++)
                x[3 * a + k] = points[3 * (int64_t)geometry[c * corners + a] + k];
        ((tabulate_tensor *)kernel)(full, &one, constants, x, 0, 0, 0);
        for (int a = 0; a < NV; a++)
            for (int b = a; b < NV; b++) {
                const double *from =
                    full + order[c * NV + a] * BS * N + order[c * NV + b] * BS;
                for (int i = 0; i < BS; i++)
                    for (int j = 0; j < BS; j++) K[i * BS + j] += from[i * N + j];
                K += BS * BS;
            }
    }
}

/* y = A x of such a matrix. */
void product(int64_t nodes, const int32_t *start, const int32_t *column, const double *blocks,
             int64_t fields, const double *const *x, double *const *y)
{
    for (int64_t m = 0; m < fields; m++)
        for (int64_t i = 0; i < nodes * BS; i++) y[m][i] = 0.0;
    for (int64_t n = 0; n < nodes; n++)
        for (int64_t m = 0; m < fields; m++) {
            const double *restrict from = x[m];
            double *restrict to = y[m];
            double sum[BS], own[BS];
            for (int i = 0; i < BS; i++) sum[i] = 0.0, own[i] = from[BS * n + i];
            for (int32_t e = start[n]; e < start[n + 1]; e++) {
                const double *restrict block = blocks + (int64_t)e * BS * BS;
                const int64_t at = (int64_t)BS * column[e];
                prefetch(block, 8 * BS * BS);
                for (int j = 0; j < BS; j++)
                    for (int i = 0; i < BS; i++) sum[i] += block[j * BS + i] * from[at + j];
                if (column[e] == n) continue;
                for (int j = 0; j < BS; j++)
                    for (int i = 0; i < BS; i++) to[at + j] += block[j * BS + i] * own[i];
            }
            for (int i = 0; i < BS; i++) to[BS * n + i] += sum[i];
        }
}

/* Plan of C = P' A P. Row i of the upper half of A, times P, has width[i] blocks; the product of
   entry e with the k-th parent of its column goes to the block slot[e, k] of that row, which goes,
   for each parent of i, to the entry `target` of C: 4 times its number, plus 1 if it lies there
   transposed and 2 if it lies on the diagonal. `where` is -1 for all columns before and after. */
void plan_galerkin(int64_t rows, const int32_t *start, const int32_t *column,
                   const int32_t *p_start, const int32_t *p_column, const int32_t *c_start,
                   const int32_t *c_column, int32_t *where, int32_t *seen, int32_t *slot,
                   int32_t *width, int32_t *target)
{
    for (int64_t i = 0; i < rows; i++) {
        int32_t found = 0;
        for (int32_t e = start[i]; e < start[i + 1]; e++)
            for (int32_t k = p_start[column[e]]; k < p_start[column[e] + 1]; k++) {
                const int32_t J = p_column[k];
                if (where[J] < 0) {
                    where[J] = found;
                    seen[found++] = J;
                }
                *slot++ = where[J];
            }
        width[i] = found;
        for (int32_t k = p_start[i]; k < p_start[i + 1]; k++)
            for (int32_t b = 0; b < found; b++) {
                const int32_t I = p_column[k], J = seen[b];
                const int32_t row = I < J ? I : J, wanted = I < J ? J : I;
                int32_t low = c_start[row], high = c_start[row + 1];
                while (high - low > 1) {
                    const int32_t middle = (low + high) / 2;
                    if (c_column[middle] <= wanted) low = middle;
                    else high = middle;
                }
                *target++ = 4 * low + (I > J) + 2 * (I == J);
            }
        for (int32_t b = 0; b < found; b++) where[seen[b]] = -1;
    }
}

/* C += P' A P by that plan; `work` holds the widest row of A P. Half of a diagonal block is taken
   with the upper half, the other half with the transposed lower one. */
void galerkin(int64_t rows, const int32_t *start, const int32_t *column, const double *A,
              const int32_t *p_start, const int32_t *p_column, const double *weight,
              const int32_t *slot, const int32_t *width, const int32_t *target, double *work,
              double *C)
{
    for (int64_t i = 0; i < rows; i++) {
        for (int64_t n = 0; n < (int64_t)width[i] * BS * BS; n++) work[n] = 0.0;
        for (int32_t e = start[i]; e < start[i + 1]; e++) {
            const double *block = A + (int64_t)e * BS * BS;
            const double half = column[e] == i ? 0.5 : 1.0;
            for (int32_t k = p_start[column[e]]; k < p_start[column[e] + 1]; k++) {
                double *restrict sum = work + (int64_t)*slot++ * BS * BS;
                const double w = half * weight[k];
                for (int n = 0; n < BS * BS; n++) sum[n] += w * block[n];
            }
        }
        for (int32_t k = p_start[i]; k < p_start[i + 1]; k++)
            for (int32_t b = 0; b < width[i]; b++) {
                const int32_t kind = *target % 4;
                double *restrict sum = C + (int64_t)(*target++ / 4) * BS * BS;
                const double *from = work + b * BS * BS, w = weight[k];
                if (kind != 1)
                    for (int n = 0; n < BS * BS; n++) sum[n] += w * from[n];
                if (kind != 0)
                    for (int i_ = 0; i_ < BS; i_++)
                        for (int j = 0; j < BS; j++) sum[j * BS + i_] += w * from[i_ * BS + j];
            }
    }
}

/* Interpolation by rows of nodes, y += P x, and its transpose. */
void prolong(int64_t nodes, const int32_t *start, const int32_t *column, const double *weight,
             int64_t fields, const double *const *x, double *const *y)
{
    for (int64_t n = 0; n < nodes; n++)
        for (int32_t e = start[n]; e < start[n + 1]; e++)
            for (int64_t m = 0; m < fields; m++)
                for (int k = 0; k < BS; k++)
                    y[m][BS * n + k] += weight[e] * x[m][(int64_t)BS * column[e] + k];
}

void restrict_(int64_t nodes, const int32_t *start, const int32_t *column, const double *weight,
               int64_t fields, const double *const *x, double *const *y)
{
    for (int64_t n = 0; n < nodes; n++)
        for (int32_t e = start[n]; e < start[n + 1]; e++)
            for (int64_t m = 0; m < fields; m++)
                for (int k = 0; k < BS; k++)
                    y[m][(int64_t)BS * column[e] + k] += weight[e] * x[m][BS * n + k];
}

/* x += w d (b - y), over n unknowns. */
void relax(int64_t n, double w, const double *restrict d, const double *restrict b,
           const double *restrict y, double *restrict x)
{
    for (int64_t i = 0; i < n; i++) x[i] += w * d[i] * (b[i] - y[i]);
}

/* b += sum over cells of P_c' scale[c] f. */
void load_scaled(int64_t cells, const int32_t *nodes, const double *f, const double *scale,
                 double *b)
{
    for (int64_t c = 0; c < cells; c++)
        for (int a = 0; a < NV; a++)
            for (int k = 0; k < BS; k++)
                b[(int64_t)BS * nodes[c * NV + a] + k] += scale[c] * f[a * BS + k];
}

/* The dual of the subproblem of moving asymptotes (separable.py): n variables x, rows 0 ... m of
   coefficients p, q, s, each of n; `bent` says which rows have a p or q, `straight` which an s;
   `data` are p, q, s, L, U and the bounds of x. */
#define CHUNK 256 /* variables whose intermediate values stay in the fastest cache */
#define TINY 1e-160

/* x minimises P/(U - x) + Q/(x - L) + S x between its bounds. In e = x - L, or U - x where S < 0,
   F(e) = e sqrt(|S| + B/(w - e)^2) - sqrt(A) is zero there, w = U - L; it grows and is convex, so
   that Newton's method goes down to the zero from that for S = 0. */
static void minimise(int64_t count, const double *restrict P, const double *restrict Q,
                     const double *restrict S, const double *restrict L, const double *restrict U,
                     const double *restrict low, const double *restrict high, int straight,
                     double *restrict x, double *restrict inside)
{
    double e[CHUNK], A[CHUNK], B[CHUNK], T[CHUNK], near[CHUNK], far[CHUNK], largest = straight;
    for (int64_t k = 0; k < count; k++) {
        const double p = sqrt(P[k]), q = sqrt(Q[k]), w = U[k] - L[k];
        const double d = low[k] - L[k], c = high[k] - L[k], b = U[k] - high[k], a = U[k] - low[k];
        const double root = S[k] < 0 ? p : q, other = S[k] < 0 ? q : p;
        const double first = w * (root + TINY) / (root + other + 2 * TINY);
        near[k] = S[k] < 0 ? b : d;
        far[k] = S[k] < 0 ? a : c;
        T[k] = S[k] < 0 ? -S[k] : S[k];
        A[k] = root + TINY * first, B[k] = other * other;
        e[k] = first < near[k] ? near[k] : first > far[k] ? far[k] : first;
    }
    for (int steps = 0; largest > 1e-9 && steps < 50; steps++) {
        largest = 0.0;
#pragma omp simd reduction(max : largest)
        for (int64_t k = 0; k < count; k++) {
            const double old = e[k], up = 1 / (U[k] - L[k] - old), bent = B[k] * up * up;
            const double R = sqrt(T[k] + bent) + TINY, slope = R + old * bent * up / R;
            const double next = old - (old * R - A[k]) / slope;
            const double now = next < near[k] ? near[k] : next > far[k] ? far[k] : next;
            const double gone = (now < old ? old - now : now - old) / old;
            largest = gone > largest ? gone : largest;
            e[k] = now;
        }
    }
    for (int64_t k = 0; k < count; k++) {
        const double a = L[k] + e[k], b = U[k] - e[k], l = low[k], h = high[k];
        const double start = S[k] < 0 ? h : l, end = S[k] < 0 ? l : h, free = S[k] < 0 ? b : a;
        inside[k] = e[k] > near[k] ? (e[k] < far[k] ? 1.0 : 0.0) : 0.0;
        x[k] = e[k] > near[k] ? (e[k] < far[k] ? free : end) : start;
    }
}

/* x (n) minimises the sum of the rows, weighted; there, without their constants, the rows in
   sums[0 ... m], and their generalised Hessian in lambda with the sign turned, G D^-1 G', G the
   slopes of rows 1 ... m and D their sum's curvature, zero at a bound, in the m^2 sums after them. */
void subproblem(int64_t n, int64_t m, const int64_t *bent, const int64_t *straight,
                const double *const *data, const double *weight, double *x, double *sums)
{
    const double *p = data[0], *q = data[1], *s = data[2], *L = data[3], *U = data[4];
    double *schur = sums + m + 1, G[m + 1][CHUNK];
    double P[CHUNK], Q[CHUNK], S[CHUNK], up[CHUNK], down[CHUNK], share[CHUNK];
    int any = 0;
    for (int64_t i = 0; i <= m; i++) any |= straight[i] && weight[i] != 0;
    for (int64_t i = 0; i < 1 + m + m * m; i++) sums[i] = 0.0;
    for (int64_t start = 0; start < n; start += CHUNK) {
        const int64_t count = n - start < CHUNK ? n - start : CHUNK;
        for (int64_t k = 0; k < count; k++) P[k] = Q[k] = S[k] = 0.0;
        for (int64_t i = 0; i <= m; i++) {
            const int64_t at = i * n + start;
            if (bent[i] && weight[i] != 0)
                for (int64_t k = 0; k < count; k++)
                    P[k] += weight[i] * p[at + k], Q[k] += weight[i] * q[at + k];
            if (straight[i] && weight[i] != 0)
                for (int64_t k = 0; k < count; k++) S[k] += weight[i] * s[at + k];
        }
        minimise(count, P, Q, S, L + start, U + start, data[5] + start, data[6] + start, any,
                 x + start, share);
        for (int64_t k = 0; k < count; k++) {
            up[k] = 1 / (U[start + k] - x[start + k]), down[k] = 1 / (x[start + k] - L[start + k]);
            const double D = 2 * (P[k] * up[k] * up[k] * up[k] + Q[k] * down[k] * down[k] * down[k]);
            share[k] = D > TINY ? share[k] / D : 0.0;
        }
        for (int64_t i = 0; i <= m; i++) {
            const int64_t at = i * n + start;
            double sum = 0.0;
            for (int64_t k = 0; k < count; k++) G[i][k] = 0.0;
            if (bent[i])
#pragma omp simd reduction(+ : sum)
                for (int64_t k = 0; k < count; k++) {
                    const double a = p[at + k] * up[k], b = q[at + k] * down[k];
                    sum += a + b;
                    G[i][k] = a * up[k] - b * down[k];
                }
            if (straight[i])
#pragma omp simd reduction(+ : sum)
                for (int64_t k = 0; k < count; k++) {
                    sum += s[at + k] * x[start + k];
                    G[i][k] += s[at + k];
                }
            sums[i] += sum;
        }
        for (int64_t i = 1; i <= m; i++)
            for (int64_t h = 1; h <= i; h++) {
                double sum = 0.0;
#pragma omp simd reduction(+ : sum)
                for (int64_t k = 0; k < count; k++) sum += G[i][k] * G[h][k] * share[k];
                schur[(i - 1) * m + h - 1] += sum;
                if (h < i) schur[(h - 1) * m + i - 1] += sum;
            }
    }
}
