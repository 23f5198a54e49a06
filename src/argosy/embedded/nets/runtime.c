//: 316 exp
static float net_exp(float x) {
  union { uint32_t bits; float value; } scale;
  float k, r, p;
  int32_t n;
  if (x > 88.7228f) return 0x1p+127f * 2.0f;
  if (!(x > -103.9f)) return x != x ? x : 0.0f;
  n = (int32_t)(x * 0x1.715476p+0f + (x < 0.0f ? -0.5f : 0.5f));
  k = (float)n;
  r = (x - k * 0x1.62e4p-1f) - k * 0x1.7f7d1cp-20f;
  p = 1.0f + r * (1.0f + r * (0.5f + r * (0x1.555556p-3f + r * (0x1.555556p-5f + r * (0x1.111112p-7f +
      r * (0x1.6c16c2p-10f + r * 0x1.a01a02p-13f))))));
  if (n > 127) { p *= 2.0f; n -= 1; }
  if (n < -126) { p *= 0x1p-64f; n += 64; }
  scale.bits = (uint32_t)(n + 127) << 23;
  return p * scale.value;
}
//: 328 log
static float net_log(float x) {
  union { float value; uint32_t bits; } m;
  int32_t e = 0;
  float s, z;
  if (x != x || x < 0.0f) return 0.0f / 0.0f;
  if (x == 0.0f) return -0x1p+127f * 2.0f;
  if (x > 0x1.fffffep+127f) return x;
  if (x < 0x1p-126f) { x *= 0x1p+24f; e = -24; }
  m.value = x;
  e += (int32_t)(m.bits >> 23) - 127;
  m.bits = (m.bits & 0x7fffffu) | 0x3f800000u;
  if (m.value > 0x1.6a09e6p+0f) { m.value *= 0.5f; e += 1; }
  s = (m.value - 1.0f) / (m.value + 1.0f);
  z = s * s;
  return (float)e * 0x1.62e4p-1f + ((float)e * 0x1.7f7d1cp-20f +
         2.0f * s * (1.0f + z * (0x1.555556p-2f + z * (0x1.99999ap-3f + z * (0x1.24924ap-3f + z * 0x1.c71c72p-4f)))));
}
//: 152 tanh (exp)
static float net_tanh(float x) {
  float z = x * x;
  if (z < 0.01f) return x * (1.0f + z * (-0x1.555556p-2f + z * 0x1.111112p-3f));
  return x > 10.0f ? 1.0f : x < -10.0f ? -1.0f : 1.0f - 2.0f / (net_exp(2.0f * x) + 1.0f);
}
//: 76 sigmoid (exp)
static float net_sigmoid(float x) {
  return x >= 0.0f ? 1.0f / (1.0f + net_exp(-x)) : 1.0f - 1.0f / (1.0f + net_exp(x));
}
//: 184 erf (exp)
/* Abramowitz and Stegun 7.1.26: within 1.5e-7. */
static float net_erf(float x) {
  float a = x < 0.0f ? -x : x, t = 1.0f / (1.0f + 0.3275911f * a);
  float y = 1.0f - t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f +
            t * 1.061405429f)))) * net_exp(-a * a);
  return x < 0.0f ? -y : y;
}
//: 100 sqrt
static float net_sqrt(float x) {
  union { float value; uint32_t bits; } guess;
  float y;
  int32_t turn;
  if (!(x > 0.0f) || x > 0x1.fffffep+127f) return x < 0.0f ? 0.0f / 0.0f : x;
  guess.value = x;
  guess.bits = (guess.bits >> 1) + 0x1fbd1df5u;
  y = guess.value;
  for (turn = 0; turn < 4; turn++) y = 0.5f * (y + x / y);
  return y;
}
//: 104 pow (exp log)
static float net_pow(float x, float y) {
  int32_t n = (int32_t)y;
  float power = 1.0f;
  if (y == 2.0f) return x * x;
  if ((float)n == y && n >= 0 && n <= 64) {
    while (n-- > 0) power *= x;
    return power;
  }
  return x == 0.0f ? 0.0f : net_exp(y * net_log(x));
}
//: 148 round
/* Half to even, as onnxruntime does; beyond the range of all integer types here nothing has to be right but the sign. */
static int32_t net_round(float x) {
  int32_t n;
  float rest;
  if (!(x > -1e6f)) return x != x ? 0 : -1000000;
  if (x > 1e6f) return 1000000;
  n = (int32_t)x;
  rest = x - (float)n;
  if (rest > 0.5f || (rest == 0.5f && (n & 1))) return n + 1;
  if (rest < -0.5f || (rest == -0.5f && (n & 1))) return n - 1;
  return n;
}
//: 150 gemm
/* y[m][n] = x[m][k] w[n][k] + b[n] */
static void net_gemm(const float *x, const float *w, const float *b, float *y, int32_t m, int32_t n, int32_t k) {
  int32_t i, j, l;
  for (i = 0; i < m; i++, x += k)
    for (j = 0; j < n; j++) {
      const float *row = w + (int32_t)(j * k);
      float sum = 0.0f;
      for (l = 0; l < k; l++) sum += x[l] * row[l];
      *y++ = b ? sum + b[j] : sum;
    }
}
//: 0 window
/* Channels, height and width of input and output; of the kernel height, width, strides, dilations; padding at the top, at
   the left, at the bottom, at the right; groups. */
typedef struct {
  int16_t c, h, w, m, oh, ow, kh, kw, sh, sw, dh, dw, top, left, bottom, right, groups;
} net_window;
//: 364 conv (window)
static void net_conv(const float *x, const float *w, const float *b, float *y, const net_window *p) {
  int32_t m, i, j, c, k, l, per = p->c / p->groups, out = p->m / p->groups;
  for (m = 0; m < p->m; m++)
    for (i = 0; i < p->oh; i++)
      for (j = 0; j < p->ow; j++) {
        const float *kernel = w + (int32_t)(m * per * p->kh * p->kw);
        float sum = 0.0f;
        for (c = m / out * per; c < (m / out + 1) * per; c++)
          for (k = 0; k < p->kh; k++) {
            int32_t row = i * p->sh + k * p->dh - p->top;
            for (l = 0; l < p->kw; l++, kernel++) {
              int32_t column = j * p->sw + l * p->dw - p->left;
              if (row >= 0 && row < p->h && column >= 0 && column < p->w)
                sum += *kernel * x[(c * p->h + row) * p->w + column];
            }
          }
        *y++ = b ? sum + b[m] : sum;
      }
}
//: 362 pool (window)
/* kind 0: the largest; 1: the mean of what is inside; 2: the mean with the padding. */
static void net_pool(const float *x, float *y, const net_window *p, int32_t kind) {
  int32_t c, i, j, k, l;
  for (c = 0; c < p->c; c++, x += (int32_t)p->h * p->w)
    for (i = 0; i < p->oh; i++)
      for (j = 0; j < p->ow; j++) {
        float best = 0.0f;
        int32_t inside = 0, count = 0;
        for (k = 0; k < p->kh; k++)
          for (l = 0; l < p->kw; l++) {
            int32_t row = i * p->sh + k * p->dh - p->top, column = j * p->sw + l * p->dw - p->left;
            if (row < p->h + p->bottom && column < p->w + p->right) count++;
            if (row >= 0 && row < p->h && column >= 0 && column < p->w) {
              float value = x[row * p->w + column];
              best = kind ? best + value : !inside || value > best ? value : best;
              inside++;
            }
          }
        *y++ = kind ? best / (float)(kind == 1 ? inside : count) : best;
      }
}
//: 176 qgemm (round)
/* x[m][k] w[n][k] + b[n] in int32, times scale[n], between low and high. */
static void net_qgemm(const int8_t *x, const int8_t *w, const int32_t *b, const float *scale, int8_t *y, int32_t m,
                      int32_t n, int32_t k, int32_t zero, int32_t out, int32_t low, int32_t high) {
  int32_t i, j, l, found;
  for (i = 0; i < m; i++, x += k)
    for (j = 0; j < n; j++) {
      const int8_t *row = w + (int32_t)(j * k);
      int32_t sum = b ? b[j] : 0;
      for (l = 0; l < k; l++) sum += (x[l] - zero) * row[l];
      found = net_round((float)sum * scale[j]) + out;
      *y++ = (int8_t)(found < low ? low : found > high ? high : found);
    }
}
//: 380 qconv (round window)
static void net_qconv(const int8_t *x, const int8_t *w, const int32_t *b, const float *scale, int8_t *y,
                      const net_window *p, int32_t zero, int32_t out, int32_t low, int32_t high) {
  int32_t m, i, j, c, k, l, per = p->c / p->groups, many = p->m / p->groups, found;
  for (m = 0; m < p->m; m++)
    for (i = 0; i < p->oh; i++)
      for (j = 0; j < p->ow; j++) {
        const int8_t *kernel = w + (int32_t)(m * per * p->kh * p->kw);
        int32_t sum = b ? b[m] : 0;
        for (c = m / many * per; c < (m / many + 1) * per; c++)
          for (k = 0; k < p->kh; k++) {
            int32_t row = i * p->sh + k * p->dh - p->top;
            for (l = 0; l < p->kw; l++, kernel++) {
              int32_t column = j * p->sw + l * p->dw - p->left;
              if (row >= 0 && row < p->h && column >= 0 && column < p->w)
                sum += *kernel * (x[(c * p->h + row) * p->w + column] - zero);
            }
          }
        found = net_round((float)sum * scale[m]) + out;
        *y++ = (int8_t)(found < low ? low : found > high ? high : found);
      }
}
