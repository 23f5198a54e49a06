static double power(double x)
{
  union { double value; uint64_t bits; } scale;
  double sum = 1.0, rest;
  int32_t n, k;
  if (!(x < 709.0))
    return x != x ? x : 0x1p+1023 * (x < 709.7 ? 1.0 : 2.0);
  if (x < -700.0)
    return 0.0;
  n = (int32_t)(x * 0x1.71547652b82fep+0 + (x < 0 ? -0.5 : 0.5));
  rest = (x - n * 0x1.62e42fee00000p-1) - n * 0x1.a39ef35793c76p-33;
  for (k = 14; k > 0; k--)
    sum = 1.0 + sum * rest / k;
  scale.bits = (uint64_t)(1023 + n) << 52;
  return sum * scale.value;
}
