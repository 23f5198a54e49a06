/* Calls main, and tells QEMU by semihosting with which status it ended. There are no constructors, and no data to copy:
   generated C has none; QEMU clears memory. */
#include <stdint.h>
extern uint32_t stack_end[];
int main(void);
static void leave(int status)
{
  uint32_t block[2] = {0x20026, (uint32_t)status};
  register uint32_t call __asm__("r0") = 0x20;
  register uint32_t *given __asm__("r1") = block;
  __asm__ volatile("bkpt 0xab" : : "r"(call), "r"(given) : "memory");
  for (;;) {
  }
}
static void fault(void)
{
  leave(125);
}
static void start(void)
{
  leave(main());
}
const void *const vectors[16] __attribute__((section(".vectors"), used)) = {
  stack_end, (void *)start, (void *)fault, (void *)fault, (void *)fault, (void *)fault, (void *)fault,
};
