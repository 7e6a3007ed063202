// SPDX-License-Identifier: Apache-2.0
/*
 * Writing cache lines back to the memory controller, which on a platform with
 * ADR is where persistence begins. CLWB keeps the line in the cache,
 * CLFLUSHOPT throws it out, CLFLUSH does so one line after the other.
 */
#include <immintrin.h>

#include "cpu.h"

__attribute__((target("clwb")))
static void write_back_clwb(uintptr_t line, uintptr_t end)
{
	for (; line < end; line += CACHE_LINE)
		_mm_clwb((void *)line);
}

__attribute__((target("clflushopt")))
static void write_back_clflushopt(uintptr_t line, uintptr_t end)
{
	for (; line < end; line += CACHE_LINE)
		_mm_clflushopt((void *)line);
}

static void write_back_clflush(uintptr_t line, uintptr_t end)
{
	for (; line < end; line += CACHE_LINE)
		_mm_clflush((const void *)line);
}

/*
 * Start writing back every line that @size bytes from @start touch. They are
 * there after the caller's next store_fence(). All three instructions reach
 * lines in the cache of any processor, so it need not be the one that wrote.
 */
void write_back(const unsigned char *start, size_t size)
{
	uintptr_t line = (uintptr_t)start & ~(uintptr_t)(CACHE_LINE - 1);
	uintptr_t end = (uintptr_t)start + size;

	switch (cpu_features()->writeback) {
	case WRITEBACK_CLWB:
		write_back_clwb(line, end);
		break;
	case WRITEBACK_CLFLUSHOPT:
		write_back_clflushopt(line, end);
		break;
	case WRITEBACK_CLFLUSH:
		write_back_clflush(line, end);
		break;
	}
}
