// SPDX-License-Identifier: Apache-2.0
/* Writing a pattern again and again, and the checksum of what that gives. */
#include <string.h>

#include "cpu.h"

/* What is checksummed at a time: it stays in the fastest cache. */
#define CHECKSUM_SIZE 4096u

/* @size divides CACHE_LINE. */
void pattern_set(struct pattern *pattern, const uint8_t *bytes, size_t size)
{
	pattern->uniform = true;
	for (size_t n = 0; n < CACHE_LINE; n++) {
		pattern->line[n] = bytes[n % size];
		if (pattern->line[n] != pattern->line[0])
			pattern->uniform = false;
	}
}

/* The line as it stands @offset bytes behind where the pattern begins */
static void turn(const struct pattern *pattern, uint64_t offset, unsigned char *line)
{
	size_t first = offset % CACHE_LINE;

	memcpy(line, pattern->line + first, CACHE_LINE - first);
	memcpy(line + CACHE_LINE - first, pattern->line, first);
}

/* Whole lines, and the beginning of one more, through the cache */
static void repeat(unsigned char *to, const unsigned char *line, size_t size)
{
	for (; size >= CACHE_LINE; size -= CACHE_LINE, to += CACHE_LINE)
		memcpy(to, line, CACHE_LINE);
	memcpy(to, line, size);
}

/**
 * pattern_fill() - write a part of a range that the pattern fills
 * @pattern: what to write
 * @kernel:  to pass the caches by; NULL to go through them
 * @to:      where the part begins
 * @offset:  how far that is behind the beginning of the range
 * @size:    of the part
 *
 * Stores that pass the caches by are not ordered: see store_fence().
 */
void pattern_fill(const struct pattern *pattern, const struct stream_kernel *kernel,
		  unsigned char *to, uint64_t offset, size_t size)
{
	unsigned char line[CACHE_LINE] __attribute__((aligned(CACHE_LINE)));
	size_t head = -(uintptr_t)to % CACHE_LINE;
	size_t body;

	if (!kernel && pattern->uniform) {
		memset(to, pattern->line[0], size);
		return;
	}
	if (!kernel) {
		turn(pattern, offset, line);
		repeat(to, line, size);
		return;
	}
	if (head > size)
		head = size;
	body = (size - head) / CACHE_LINE * CACHE_LINE;
	turn(pattern, offset, line);
	memcpy(to, line, head);
	turn(pattern, offset + head, line);
	kernel->fill(to + head, line, body);
	memcpy(to + head + body, line, size - head - body);
}

/* The CRC-32C of what @crc is of, followed by what pattern_fill() writes */
uint32_t pattern_crc32c(const struct pattern *pattern, uint32_t crc, uint64_t offset,
			size_t size)
{
	unsigned char bytes[CHECKSUM_SIZE];
	unsigned char line[CACHE_LINE];

	turn(pattern, offset, line);
	repeat(bytes, line, size < sizeof(bytes) ? size : sizeof(bytes));
	for (; size > sizeof(bytes); size -= sizeof(bytes))
		crc = crc32c(crc, bytes, sizeof(bytes));
	return crc32c(crc, bytes, size);
}
