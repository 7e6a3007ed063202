// SPDX-License-Identifier: Apache-2.0
/* Finding the first byte in which two ranges differ. */
#include <string.h>

#include "cpu.h"

/* What is compared at a time: memcmp(3) tells that bytes differ, not which. */
#define BLOCK_SIZE 16384u

/* Return: how many bytes are equal before the first that differs; @size if all are. */
size_t equal_bytes(const unsigned char *a, const unsigned char *b, size_t size)
{
	size_t equal = 0;

	while (size - equal >= BLOCK_SIZE && !memcmp(a + equal, b + equal, BLOCK_SIZE))
		equal += BLOCK_SIZE;
	if (size - equal < BLOCK_SIZE && !memcmp(a + equal, b + equal, size - equal))
		return size;
	/* Another thread may have made them equal since: then there is no difference here. */
	while (equal < size && a[equal] == b[equal])
		equal++;
	return equal;
}
