// SPDX-License-Identifier: Apache-2.0
/* SHA-256 of blocks, against its definition (FIPS 180-4). */
#include "fixture.h"

#define SIZE DMA_SHIM_SHA256_SIZE

static uint32_t rotate(uint32_t word, unsigned int by)
{
	return word >> by | word << (32 - by);
}

/*
 * The first 32 bits of the fractional part of a root of the @n-th prime: of the square root, or of the
 * cube root. Found by bisection, in whole numbers.
 */
static uint32_t root_of_prime(unsigned int n, bool cube)
{
	unsigned int prime = 2;
	unsigned __int128 low = 0, high = (unsigned __int128)32 << 32;

	for (unsigned int found = 0;; prime++) {
		bool is_prime = true;

		for (unsigned int by = 2; by * by <= prime; by++)
			is_prime &= prime % by != 0;
		if (is_prime && found++ == n)
			break;
	}
	while (high - low > 1) {
		unsigned __int128 middle = (low + high) / 2;
		bool above = cube ? middle * middle * middle > (unsigned __int128)prime << 96 :
				    middle * middle > (unsigned __int128)prime << 64;

		if (above)
			high = middle;
		else
			low = middle;
	}
	return (uint32_t)low;
}

static void compress(uint32_t *hash, const unsigned char *chunk)
{
	static uint32_t constants[64];
	uint32_t w[64], s[8];

	for (unsigned int n = 0; n < 64 && !constants[63]; n++)
		constants[n] = root_of_prime(n, true);
	for (unsigned int n = 0; n < 16; n++)
		w[n] = (uint32_t)chunk[4 * n] << 24 | (uint32_t)chunk[4 * n + 1] << 16 |
		       (uint32_t)chunk[4 * n + 2] << 8 | chunk[4 * n + 3];
	for (unsigned int n = 16; n < 64; n++)
		w[n] = w[n - 16] + w[n - 7] +
		       (rotate(w[n - 15], 7) ^ rotate(w[n - 15], 18) ^ w[n - 15] >> 3) +
		       (rotate(w[n - 2], 17) ^ rotate(w[n - 2], 19) ^ w[n - 2] >> 10);
	memcpy(s, hash, sizeof(s));
	for (unsigned int n = 0; n < 64; n++) {
		uint32_t one = s[7] + (rotate(s[4], 6) ^ rotate(s[4], 11) ^ rotate(s[4], 25)) +
			       ((s[4] & s[5]) ^ (~s[4] & s[6])) + constants[n] + w[n];
		uint32_t two = (rotate(s[0], 2) ^ rotate(s[0], 13) ^ rotate(s[0], 22)) +
			       ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));

		memmove(s + 1, s, 7 * sizeof(*s));
		s[4] += one;
		s[0] = one + two;
	}
	for (unsigned int n = 0; n < 8; n++)
		hash[n] += s[n];
}

static void sha256_by_definition(const unsigned char *bytes, size_t size, unsigned char *digest)
{
	unsigned char last[128] = { 0 };
	size_t left = size % 64, end = left < 56 ? 64 : 128;
	uint32_t hash[8];

	for (unsigned int n = 0; n < 8; n++)
		hash[n] = root_of_prime(n, false);
	for (size_t at = 0; at + 64 <= size; at += 64)
		compress(hash, bytes + at);
	memcpy(last, bytes + size - left, left);
	last[left] = 0x80;
	for (unsigned int n = 0; n < 8; n++)
		last[end - 1 - n] = (unsigned char)((uint64_t)size * 8 >> 8 * n);
	for (size_t at = 0; at < end; at += 64)
		compress(hash, last + at);
	for (unsigned int n = 0; n < SIZE; n++)
		digest[n] = (unsigned char)(hash[n / 4] >> (24 - 8 * (n % 4)));
}

static void skip_without_instructions(void)
{
	if (!cpu_features()->sha)
		SKIP("this processor has no instructions for SHA-256");
}

/* The examples of FIPS 180-4, and that of no bytes */
TEST(sha256_gives_the_published_values)
{
	static const unsigned char of_abc[SIZE] = {
		0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23,
		0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad,
	};
	unsigned char digest[SIZE];

	sha256_by_definition((const unsigned char *)"abc", 3, digest);
	CHECK_EQ(memcmp(digest, of_abc, SIZE), 0);
	skip_without_instructions();
	memset(digest, 0, SIZE);
	CHECK_EQ(dma_shim_sha256("abc", 3, 64, digest), 0);
	CHECK_EQ(memcmp(digest, of_abc, SIZE), 0);
}

TEST(sha256_of_blocks_agrees_with_its_definition)
{
	static unsigned char bytes[40000];
	static unsigned char digests[sizeof(bytes) * SIZE + 1];
	unsigned char want[SIZE];

	skip_without_instructions();
	random_fill(bytes, sizeof(bytes));
	for (unsigned int round = 0; round < rounds(600); round++) {
		size_t at = random_below(64);
		size_t size = random_below(round % 2 ? 600 : sizeof(bytes) - 64);
		size_t block = 1 + random_below(round % 3 ? 300 : size + 10);
		size_t count = (size + block - 1) / block;

		digests[count * SIZE] = 0x5a;
		CHECK_EQ(dma_shim_sha256(bytes + at, size, block, digests), 0);
		CHECK_EQ(digests[count * SIZE], 0x5a);
		for (size_t n = 0; n < count; n++) {
			size_t from = n * block;
			size_t part = size - from < block ? size - from : block;

			sha256_by_definition(bytes + at + from, part, want);
			CHECK_EQ(memcmp(digests + n * SIZE, want, SIZE), 0);
		}
	}
}

TEST(sha256_that_cannot_be_computed_is_refused)
{
	static const struct cpu_features none = { .writeback = WRITEBACK_CLFLUSH };
	unsigned char digest[SIZE];

	CHECK_EQ(dma_shim_sha256("abc", 3, 0, digest), -EINVAL);
	CHECK_EQ(dma_shim_sha256(NULL, 3, 64, digest), -EINVAL);
	CHECK_EQ(dma_shim_sha256("abc", 3, 64, NULL), -EINVAL);
	hooks.features = &none;
	CHECK_EQ(dma_shim_sha256("abc", 3, 64, digest), -EOPNOTSUPP);
}

/* Of which twice the size is no number of 64 bits, or a smaller one */
TEST(sha256_of_a_block_larger_than_memory_is_that_of_all_bytes)
{
	static const uint64_t blocks[] = { (UINT64_C(1) << 63) - 1, UINT64_C(1) << 63,
					   (UINT64_C(1) << 63) + 1, UINT64_MAX };
	unsigned char want[SIZE];
	unsigned char digest[2 * SIZE];

	skip_without_instructions();
	sha256_by_definition((const unsigned char *)"abc", 3, want);
	for (size_t n = 0; n < sizeof(blocks) / sizeof(*blocks); n++) {
		memset(digest, 0x5a, sizeof(digest));
		CHECK_EQ(dma_shim_sha256("abc", 3, blocks[n], digest), 0);
		CHECK_EQ(memcmp(digest, want, SIZE), 0);
		CHECK_EQ(digest[SIZE], 0x5a);
	}
}
