// SPDX-License-Identifier: Apache-2.0
/*
 * SHA-256 (FIPS 180-4) of blocks, by the processor's instructions for it.
 *
 * One round waits for the one before: an instruction of two rounds takes four cycles, though another one
 * can begin after two. So two blocks are hashed side by side, which takes little longer than one of them.
 */
#include <errno.h>
#include <immintrin.h>
#include <string.h>

#include "../os/os.h"
#include "cpu.h"

#define CHUNK 64u       /* what SHA-256 compresses at a time */

static const uint32_t round_constants[64] __attribute__((aligned(16))) = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* The eight words of a hash value, a to h, in the order that the instructions want */
struct state {
	__m128i abef;
	__m128i cdgh;
};

#define WITH_SHA __attribute__((target("sha,sse4.1"), always_inline)) static inline

WITH_SHA struct state initial_state(void)
{
	return (struct state) {
		.abef = _mm_set_epi32(0x6a09e667, (int)0xbb67ae85, 0x510e527f, (int)0x9b05688c),
		.cdgh = _mm_set_epi32(0x3c6ef372, (int)0xa54ff53a, 0x1f83d9ab, 0x5be0cd19),
	};
}

/* As big-endian words, and as they lie in memory: the same permutation both ways */
WITH_SHA __m128i swap_bytes(__m128i words)
{
	return _mm_shuffle_epi8(words, _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203));
}

/* Four rounds. @message: their four words, with the constants not added */
WITH_SHA void four_rounds(struct state *state, __m128i message, unsigned int round)
{
	__m128i words = _mm_add_epi32(message,
				      _mm_load_si128((const __m128i *)&round_constants[round]));

	state->cdgh = _mm_sha256rnds2_epu32(state->cdgh, state->abef, words);
	state->abef = _mm_sha256rnds2_epu32(state->abef, state->cdgh, _mm_shuffle_epi32(words, 0x0e));
}

/* The next four words of the message schedule, from the sixteen before */
WITH_SHA __m128i next_words(__m128i w0, __m128i w4, __m128i w8, __m128i w12)
{
	__m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w4), _mm_alignr_epi8(w12, w8, 4));

	return _mm_sha256msg2_epu32(sum, w12);
}

/* Compress a chunk of each of @count streams; @count is a constant where this is inlined. */
WITH_SHA void compress(struct state *states, const unsigned char *const *chunks, unsigned int count)
{
	struct state before[2];
	__m128i words[2][4];

	for (unsigned int n = 0; n < count; n++) {
		before[n] = states[n];
		for (unsigned int i = 0; i < 4; i++)
			words[n][i] = swap_bytes(_mm_loadu_si128((const __m128i *)chunks[n] + i));
	}
#pragma GCC unroll 16
	for (unsigned int step = 0; step < 16; step++) {
		for (unsigned int n = 0; n < count; n++) {
			__m128i *w = words[n];

			four_rounds(&states[n], w[step % 4], 4 * step);
			if (step < 12)
				w[step % 4] = next_words(w[step % 4], w[(step + 1) % 4],
							 w[(step + 2) % 4], w[(step + 3) % 4]);
		}
	}
	for (unsigned int n = 0; n < count; n++) {
		states[n].abef = _mm_add_epi32(states[n].abef, before[n].abef);
		states[n].cdgh = _mm_add_epi32(states[n].cdgh, before[n].cdgh);
	}
}

/* What comes behind the last whole chunk: the rest, a one, zeros and the size in bits. Return: 1 or 2 chunks */
static unsigned int pad(unsigned char *last, const unsigned char *rest, size_t size)
{
	size_t left = size % CHUNK;
	unsigned int chunks = left < CHUNK - 8 ? 1 : 2;
	uint64_t bits = __builtin_bswap64((uint64_t)size * 8);

	memset(last, 0, chunks * CHUNK);
	memcpy(last, rest, left);
	last[left] = 0x80;
	memcpy(last + chunks * CHUNK - 8, &bits, 8);
	return chunks;
}

WITH_SHA void put_digest(const struct state *state, unsigned char *digest)
{
	__m128i feba = _mm_shuffle_epi32(state->abef, 0x1b);
	__m128i dchg = _mm_shuffle_epi32(state->cdgh, 0xb1);

	_mm_storeu_si128((__m128i *)digest, swap_bytes(_mm_blend_epi16(feba, dchg, 0xf0)));
	_mm_storeu_si128((__m128i *)digest + 1, swap_bytes(_mm_alignr_epi8(dchg, feba, 8)));
}

/* The digests of @count buffers of one size, side by side */
WITH_SHA void hash(const unsigned char *const *from, unsigned int count, size_t size,
		   unsigned char *digests)
{
	struct state states[2] = { initial_state(), initial_state() };
	const unsigned char *chunks[2] = { from[0], from[count - 1] };
	unsigned char last[2][2 * CHUNK];
	unsigned int more = 0;

	for (size_t done = 0; size - done >= CHUNK; done += CHUNK) {
		compress(states, chunks, count);
		for (unsigned int n = 0; n < count; n++)
			chunks[n] += CHUNK;
	}
	for (unsigned int n = 0; n < count; n++) {
		more = pad(last[n], chunks[n], size);
		chunks[n] = last[n];
	}
	for (unsigned int part = 0; part < more; part++) {
		compress(states, chunks, count);
		for (unsigned int n = 0; n < count; n++)
			chunks[n] += CHUNK;
	}
	for (unsigned int n = 0; n < count; n++)
		put_digest(&states[n], digests + n * DMA_SHIM_SHA256_SIZE);
}

__attribute__((target("sha,sse4.1")))
static void hash_blocks(const unsigned char *bytes, size_t size, size_t block,
			unsigned char *digests)
{
	for (; size / 2 >= block; size -= 2 * block, bytes += 2 * block) {
		const unsigned char *const pair[2] = { bytes, bytes + block };

		hash(pair, 2, block, digests);
		digests += 2 * DMA_SHIM_SHA256_SIZE;
	}
	for (; size; digests += DMA_SHIM_SHA256_SIZE) {
		size_t one = size < block ? size : block;

		hash(&bytes, 1, one, digests);
		bytes += one;
		size -= one;
	}
}

PUBLIC int dma_shim_sha256(const void *bytes, uint64_t size, uint64_t block, void *digests)
{
	if ((!bytes && size) || !digests || !block)
		return -EINVAL;
	if (!cpu_features()->sha)
		return -EOPNOTSUPP;
	hash_blocks(bytes, size, block, digests);
	return 0;
}
