/* Calls main, counts the instructions of each prediction, and tells QEMU by semihosting what they were and with which
   status main ended. There are no constructors, and no data to copy: generated C has none; QEMU clears memory.

   With -icount, an instruction takes the time of a fifth of a tick of the board's timer, which counts down. The linker
   puts __wrap_X where X_predict is called (--wrap), PREDICT being its name. */
#include <stdint.h>
extern uint32_t stack_end[];
int main(void);
uint32_t counted_begin, counted_return, counted_calls;
uint32_t counted_ticks[2];
__asm__(
  ".syntax unified\n .thumb\n .text\n"
  ".global __wrap_" PREDICT "\n .type __wrap_" PREDICT ", %function\n"
  "__wrap_" PREDICT ":\n"
  "  ldr r12, =counted_return\n  str lr, [r12]\n"
  "  ldr r12, =0x40000004\n  ldr r12, [r12]\n  ldr lr, =counted_begin\n  str r12, [lr]\n"
  "  bl __real_" PREDICT "\n"
  "  ldr r12, =0x40000004\n  ldr r12, [r12]\n"
  "  ldr r1, =counted_begin\n  ldr r1, [r1]\n  subs r1, r1, r12\n"
  "  ldr r2, =counted_ticks\n  ldr r3, [r2]\n  adds r3, r3, r1\n  str r3, [r2]\n"
  "  ldr r3, [r2, #4]\n  adc r3, r3, #0\n  str r3, [r2, #4]\n"
  "  ldr r2, =counted_calls\n  ldr r3, [r2]\n  adds r3, r3, #1\n  str r3, [r2]\n"
  "  ldr r12, =counted_return\n  ldr pc, [r12]\n"
  "  .ltorg\n");
static void ask(uint32_t operation, const void *given)
{
  register uint32_t call __asm__("r0") = operation;
  register const void *block __asm__("r1") = given;
  __asm__ volatile("bkpt 0xab" : "+r"(call) : "r"(block) : "memory");
}
static void leave(int status)
{
  uint32_t block[2] = {0x20026, (uint32_t)status};
  ask(0x20, block);
  for (;;) {
  }
}
static void say(uint64_t number)
{
  char text[22];
  int at = 21;
  text[at] = 0;
  text[--at] = '\n';
  do {
    text[--at] = (char)('0' + number % 10);
    number /= 10;
  } while (number);
  ask(4, text + at);
}
static void fault(void)
{
  leave(125);
}
static void start(void)
{
  volatile uint32_t *timer = (volatile uint32_t *)0x40000000;
  int status;
  timer[2] = timer[1] = 0xffffffff;
  timer[0] = 1;
  status = main();
  if (!status && counted_calls)
    say((((uint64_t)counted_ticks[1] << 32) + counted_ticks[0]) * 5 / counted_calls);
  leave(status);
}
const void *const vectors[16] __attribute__((section(".vectors"), used)) = {
  stack_end, (void *)start, (void *)fault, (void *)fault, (void *)fault, (void *)fault, (void *)fault,
};
