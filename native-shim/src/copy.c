// SPDX-License-Identifier: Apache-2.0
/*
 * Copying with stores that pass the caches by.
 *
 * A normal store first reads the line that it is going to overwrite, and
 * throws out of the cache a line that somebody wanted. A non-temporal store of
 * a whole line does neither, and on persistent memory leaves nothing to write
 * back. Only whole, aligned lines gain: the ends of a range are copied as
 * usual, and whoever flushes has to write back the lines that hold them.
 */
#include <immintrin.h>
#include <string.h>

#include "internal.h"

/*
 * Below this a copy stays in the cache: it is done sooner than memory can take
 * it, and whoever reads the destination next finds it there. 256 KiB is half
 * of the smallest second-level cache among today's servers, so source and
 * destination fit together. A starting point, not a measurement of the machine
 * at hand.
 */
#define STREAM_MIN (UINT64_C(256) << 10)

/* Lines ahead of the loads that are asked for, to cross page boundaries early */
#define PREFETCH_DISTANCE 512

static void copy_sse2(unsigned char *to, const unsigned char *from, size_t size)
{
	for (; size; size -= CACHE_LINE) {
		__m128i a, b, c, d;

		_mm_prefetch((const char *)from + PREFETCH_DISTANCE, _MM_HINT_NTA);
		a = _mm_loadu_si128((const __m128i *)from);
		b = _mm_loadu_si128((const __m128i *)(from + 16));
		c = _mm_loadu_si128((const __m128i *)(from + 32));
		d = _mm_loadu_si128((const __m128i *)(from + 48));
		_mm_stream_si128((__m128i *)to, a);
		_mm_stream_si128((__m128i *)(to + 16), b);
		_mm_stream_si128((__m128i *)(to + 32), c);
		_mm_stream_si128((__m128i *)(to + 48), d);
		from += CACHE_LINE;
		to += CACHE_LINE;
	}
}

__attribute__((target("avx2")))
static void copy_avx2(unsigned char *to, const unsigned char *from, size_t size)
{
	for (; size; size -= CACHE_LINE) {
		__m256i a, b;

		_mm_prefetch((const char *)from + PREFETCH_DISTANCE, _MM_HINT_NTA);
		a = _mm256_loadu_si256((const __m256i *)from);
		b = _mm256_loadu_si256((const __m256i *)(from + 32));
		_mm256_stream_si256((__m256i *)to, a);
		_mm256_stream_si256((__m256i *)(to + 32), b);
		from += CACHE_LINE;
		to += CACHE_LINE;
	}
}

__attribute__((target("avx512f")))
static void copy_avx512(unsigned char *to, const unsigned char *from, size_t size)
{
	for (; size; size -= CACHE_LINE) {
		__m512i a;

		_mm_prefetch((const char *)from + PREFETCH_DISTANCE, _MM_HINT_NTA);
		a = _mm512_loadu_si512(from);
		_mm512_stream_si512((__m512i *)to, a);
		from += CACHE_LINE;
		to += CACHE_LINE;
	}
}

/* Best first; the last one runs everywhere. */
const struct stream_kernel stream_kernels[STREAM_KERNELS] = {
	{ "avx512", copy_avx512 },
	{ "avx2", copy_avx2 },
	{ "sse2", copy_sse2 },
};

bool stream_kernel_usable(const struct stream_kernel *kernel)
{
	if (kernel->copy == copy_avx512)
		return cpu_features()->avx512f;
	if (kernel->copy == copy_avx2)
		return cpu_features()->avx2;
	return true;
}

const struct stream_kernel *stream_kernel_best(void)
{
	const struct stream_kernel *kernel = stream_kernels;

	while (!stream_kernel_usable(kernel))
		kernel++;
	return kernel;
}

bool stream_worthwhile(uint64_t size)
{
	return size >= STREAM_MIN;
}

/* Copy of any size and alignment; every store is ordered before it returns. */
void copy_streaming(const struct stream_kernel *kernel, unsigned char *to,
		    const unsigned char *from, size_t size)
{
	size_t head = -(uintptr_t)to % CACHE_LINE;
	size_t body;

	if (head > size)
		head = size;
	body = (size - head) / CACHE_LINE * CACHE_LINE;

	memcpy(to, from, head);
	kernel->copy(to + head, from + head, body);
	memcpy(to + head + body, from + head + body, size - head - body);
	store_fence();
}

/* Non-temporal stores and write-backs before it are done before what follows. */
void store_fence(void)
{
	_mm_sfence();
}
