/* Loops over cells of a mesh whose operators are sums of element tensors, y = sum_c P_c' K_c P_c x.

   NV nodes a cell and BS unknowns a node are given to the compiler, so that it unrolls and
   vectorises. A field is an array over the nodes of this rank, owned ones first, the BS unknowns of
   a node together; M fields come as pointers. Nothing here communicates. */

#include <stdint.h>

#define N (NV * BS)
#define PAD (BS == 3 ? 4 : BS) /* rows of a stored block, so that a column is one vector */

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

/* Matrix of a level from its tensors, in blocks by columns, PAD x BS; place[c][a][b] is the number
   of the block that couples node a to node b. */
void assemble(int64_t cells, const int32_t *place, const double *K, double *blocks)
{
    for (int64_t c = 0; c < cells; c++)
        for (int a = 0; a < NV; a++)
            for (int b = 0; b < NV; b++) {
                double *block = blocks + (int64_t)place[(c * NV + a) * NV + b] * PAD * BS;
                const double *k = K + c * N * N + a * BS * N + b * BS;
                for (int i = 0; i < BS; i++)
                    for (int j = 0; j < BS; j++) block[j * PAD + i] += k[i * N + j];
            }
}

/* y = A x of such a matrix. */
void product(int64_t nodes, const int32_t *start, const int32_t *column, const double *blocks,
             int64_t fields, const double *const *x, double *const *y)
{
    for (int64_t n = 0; n < nodes; n++)
        for (int64_t m = 0; m < fields; m++) {
            double sum[PAD];
            for (int i = 0; i < PAD; i++) sum[i] = 0.0;
            for (int32_t e = start[n]; e < start[n + 1]; e++) {
                const double *u = x[m] + (int64_t)BS * column[e];
                const double *block = blocks + (int64_t)e * PAD * BS;
                for (int j = 0; j < BS; j++)
                    for (int i = 0; i < PAD; i++) sum[i] += block[j * PAD + i] * u[j];
            }
            for (int i = 0; i < BS; i++) y[m][BS * n + i] = sum[i];
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
