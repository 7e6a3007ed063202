// SPDX-License-Identifier: Apache-2.0
/*
 * Ways to copy and to fill what is too large for the caches; calibrate.c tells which.
 *
 * A normal store first reads the line that it is going to overwrite, and
 * evicts from the cache a line that something else needed. A non-temporal store of
 * a whole line does neither, and on persistent memory leaves nothing to write
 * back. Only whole, aligned lines gain: the ends of a range are copied as
 * usual, and a flush has to write back the lines that hold them.
 */
#include <immintrin.h>
#include <string.h>

#include "cpu.h"

/*
 * Each of these copies two ranges of @size bytes, the second @apart bytes behind the
 * first, a line of each in turn: two streams keep memory busier than one. On Zen 3 that
 * makes 15 to 25 % more, and a third stream nothing; prefetching by hand makes it slower.
 */

static inline void stream_sse2(unsigned char *to, const unsigned char *from)
{
	__m128i a, b, c, d;

	a = _mm_loadu_si128((const __m128i *)from);
	b = _mm_loadu_si128((const __m128i *)(from + 16));
	c = _mm_loadu_si128((const __m128i *)(from + 32));
	d = _mm_loadu_si128((const __m128i *)(from + 48));
	_mm_stream_si128((__m128i *)to, a);
	_mm_stream_si128((__m128i *)(to + 16), b);
	_mm_stream_si128((__m128i *)(to + 32), c);
	_mm_stream_si128((__m128i *)(to + 48), d);
}

static void copy_sse2(unsigned char *to, const unsigned char *from, size_t size,
		      size_t apart)
{
	for (size_t at = 0; at < size; at += CACHE_LINE) {
		stream_sse2(to + at, from + at);
		stream_sse2(to + apart + at, from + apart + at);
	}
}

__attribute__((target("avx2")))
static inline void stream_avx2(unsigned char *to, const unsigned char *from)
{
	__m256i a, b;

	a = _mm256_loadu_si256((const __m256i *)from);
	b = _mm256_loadu_si256((const __m256i *)(from + 32));
	_mm256_stream_si256((__m256i *)to, a);
	_mm256_stream_si256((__m256i *)(to + 32), b);
}

__attribute__((target("avx2")))
static void copy_avx2(unsigned char *to, const unsigned char *from, size_t size,
		      size_t apart)
{
	for (size_t at = 0; at < size; at += CACHE_LINE) {
		stream_avx2(to + at, from + at);
		stream_avx2(to + apart + at, from + apart + at);
	}
}

__attribute__((target("avx512f")))
static void copy_avx512(unsigned char *to, const unsigned char *from, size_t size,
			size_t apart)
{
	for (size_t at = 0; at < size; at += CACHE_LINE) {
		__m512i first = _mm512_loadu_si512(from + at);
		__m512i second = _mm512_loadu_si512(from + apart + at);

		_mm512_stream_si512((__m512i *)(to + at), first);
		_mm512_stream_si512((__m512i *)(to + apart + at), second);
	}
}

static void fill_sse2(unsigned char *to, const unsigned char *line, size_t size)
{
	__m128i a = _mm_load_si128((const __m128i *)line);
	__m128i b = _mm_load_si128((const __m128i *)(line + 16));
	__m128i c = _mm_load_si128((const __m128i *)(line + 32));
	__m128i d = _mm_load_si128((const __m128i *)(line + 48));

	for (size_t at = 0; at < size; at += CACHE_LINE) {
		_mm_stream_si128((__m128i *)(to + at), a);
		_mm_stream_si128((__m128i *)(to + at + 16), b);
		_mm_stream_si128((__m128i *)(to + at + 32), c);
		_mm_stream_si128((__m128i *)(to + at + 48), d);
	}
}

__attribute__((target("avx2")))
static void fill_avx2(unsigned char *to, const unsigned char *line, size_t size)
{
	__m256i a = _mm256_load_si256((const __m256i *)line);
	__m256i b = _mm256_load_si256((const __m256i *)(line + 32));

	for (size_t at = 0; at < size; at += CACHE_LINE) {
		_mm256_stream_si256((__m256i *)(to + at), a);
		_mm256_stream_si256((__m256i *)(to + at + 32), b);
	}
}

__attribute__((target("avx512f")))
static void fill_avx512(unsigned char *to, const unsigned char *line, size_t size)
{
	__m512i a = _mm512_load_si512(line);

	for (size_t at = 0; at < size; at += CACHE_LINE)
		_mm512_stream_si512((__m512i *)(to + at), a);
}

/*
 * Where the processor avoids reading lines that it overwrites whole, it is so in
 * microcode, and which streams there are is its own affair.
 */
static void copy_movsb(unsigned char *to, const unsigned char *from, size_t size,
		       size_t apart)
{
	size += apart;
	__asm__ volatile("rep movsb"
			 : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

/* If the first 8 bytes are all of the line, they stand for it. */
static void fill_stosq(unsigned char *to, const unsigned char *line, size_t size)
{
	size_t words = size / 8;
	uint64_t word;

	if (memcmp(line, line + 8, CACHE_LINE - 8)) {
		fill_sse2(to, line, size);
		return;
	}
	memcpy(&word, line, sizeof(word));
	__asm__ volatile("rep stosq"
			 : "+D"(to), "+c"(words) : "a"(word) : "memory");
}

/* SSE2 and string moves are there on every x86-64. */
const struct stream_kernel stream_kernels[STREAM_KERNELS] = {
	{ "avx512", true, copy_avx512, fill_avx512 },
	{ "avx2", true, copy_avx2, fill_avx2 },
	{ "sse2", true, copy_sse2, fill_sse2 },
	{ "movsb", false, copy_movsb, fill_stosq },
};

bool stream_kernel_usable(const struct stream_kernel *kernel)
{
	if (kernel->copy == copy_avx512)
		return cpu_features()->avx512f;
	if (kernel->copy == copy_avx2)
		return cpu_features()->avx2;
	return true;
}

/*
 * Copy of any size and alignment. The thread that runs a piece orders the stores once, at its
 * end: a fence for each small segment would cost as much as copying it.
 */
void copy_streaming(const struct stream_kernel *kernel, unsigned char *to,
		    const unsigned char *from, size_t size)
{
	size_t head = -(uintptr_t)to % CACHE_LINE;
	size_t body, half;

	if (head > size)
		head = size;
	body = (size - head) / CACHE_LINE * CACHE_LINE;
	/* Of an odd number of lines, the one in the middle is in both halves. */
	half = (body / CACHE_LINE + 1) / 2 * CACHE_LINE;

	memcpy(to, from, head);
	kernel->copy(to + head, from + head, half, body - half);
	memcpy(to + head + body, from + head + body, size - head - body);
}

/* Non-temporal stores and write-backs before it are done before what follows. */
void store_fence(void)
{
	_mm_sfence();
}
