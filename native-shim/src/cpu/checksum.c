// SPDX-License-Identifier: Apache-2.0
/*
 * CRC-32C (Castagnoli: RFC 3720 appendix B.4; reflected, begun and ended with
 * all ones), by the CRC32 instruction of SSE 4.2 if the CPU has it.
 *
 * The instruction takes three cycles but one can begin in every cycle, so
 * three thirds of a block run side by side and are put together by appending
 * zeros: a CRC is a remainder of polynomials over GF(2), appending n bytes of
 * zeros multiplies it by x^(8n), and that is linear in the CRC. The same puts
 * pieces together that several threads have read: the CRC of a whole is the
 * exclusive or of its pieces' CRCs, each shifted by what comes after it.
 */
#include <immintrin.h>
#include <string.h>

#include "../os/os.h"
#include "cpu.h"

#define POLYNOMIAL UINT32_C(0x82f63b78)

/* Thirds of a block: most of a large buffer, and most of what is then left. */
#define LONG_THIRD  8192u
#define SHORT_THIRD 256u

/* A shift by a constant, as a table for each byte of the CRC */
typedef uint32_t shift_table[4][256];

static uint32_t byte_tables[8][256];    /* "slicing by 8" */
static uint32_t x_to_2_to[64];          /* x^(2^n) modulo the polynomial */
static shift_table long_shift;
static shift_table short_shift;
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

/* @a * @b modulo the polynomial; bit 31 is the coefficient of x^0 */
static uint32_t multiply(uint32_t a, uint32_t b)
{
	uint32_t product = 0;

	for (; a; a <<= 1) {
		if (a & UINT32_C(0x80000000))
			product ^= b;
		b = b & 1 ? b >> 1 ^ POLYNOMIAL : b >> 1;
	}
	return product;
}

/**
 * crc32c_shift() - what @crc becomes when @size bytes of zeros are appended
 *
 * For finished CRCs: crc32c(a, B) == crc32c_shift(a, size of B) ^ crc32c(0, B).
 */
uint32_t crc32c_shift(uint32_t crc, uint64_t size)
{
	for (unsigned int n = 3; size; n++, size >>= 1) {
		if (size & 1)
			crc = multiply(x_to_2_to[n], crc);
	}
	return crc;
}

static void make_shift_table(shift_table table, uint64_t size)
{
	for (uint32_t byte = 0; byte < 256; byte++) {
		for (unsigned int n = 0; n < 4; n++)
			table[n][byte] = crc32c_shift(byte << (8 * n), size);
	}
}

static void make_tables(void)
{
	x_to_2_to[0] = UINT32_C(1) << 30;
	for (unsigned int n = 1; n < 64; n++)
		x_to_2_to[n] = multiply(x_to_2_to[n - 1], x_to_2_to[n - 1]);

	for (uint32_t byte = 0; byte < 256; byte++) {
		uint32_t crc = byte;

		for (unsigned int n = 0; n < 8; n++) {
			for (unsigned int bit = 0; bit < 8; bit++)
				crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
			byte_tables[n][byte] = crc;
		}
	}
	make_shift_table(long_shift, LONG_THIRD);
	make_shift_table(short_shift, SHORT_THIRD);
}

void crc32c_init(void)
{
	pthread_once(&tables_once, make_tables);
}

static uint64_t load(const unsigned char *bytes)
{
	uint64_t word;

	memcpy(&word, bytes, sizeof(word));
	return word;
}

/* For a processor without the instruction */
uint32_t crc32c_table(uint32_t crc, const void *bytes, size_t size)
{
	const unsigned char *next = bytes;

	crc = ~crc;
	for (; size >= 8; size -= 8, next += 8) {
		uint64_t word = load(next) ^ crc;

		crc = 0;
		for (unsigned int n = 0; n < 8; n++)
			crc ^= byte_tables[7 - n][word >> (8 * n) & 0xff];
	}
	for (; size; size--, next++)
		crc = crc >> 8 ^ byte_tables[0][(crc ^ *next) & 0xff];
	return ~crc;
}

static uint32_t shift_by(const shift_table table, uint64_t crc)
{
	return table[0][crc & 0xff] ^ table[1][crc >> 8 & 0xff] ^
	       table[2][crc >> 16 & 0xff] ^ table[3][crc >> 24 & 0xff];
}

__attribute__((target("sse4.2")))
static uint64_t three_thirds(uint64_t crc, const unsigned char *bytes,
			     size_t third, const shift_table table)
{
	uint64_t second = 0;
	uint64_t last = 0;

	for (size_t n = 0; n < third; n += 8) {
		crc = _mm_crc32_u64(crc, load(bytes + n));
		second = _mm_crc32_u64(second, load(bytes + third + n));
		last = _mm_crc32_u64(last, load(bytes + 2 * third + n));
	}
	crc = shift_by(table, crc) ^ second;
	return shift_by(table, crc) ^ last;
}

__attribute__((target("sse4.2")))
static uint32_t crc32c_sse42(uint32_t before, const unsigned char *next, size_t size)
{
	uint64_t crc = ~before;

	for (; size >= 3 * LONG_THIRD; size -= 3 * LONG_THIRD) {
		crc = three_thirds(crc, next, LONG_THIRD, long_shift);
		next += 3 * LONG_THIRD;
	}
	for (; size >= 3 * SHORT_THIRD; size -= 3 * SHORT_THIRD) {
		crc = three_thirds(crc, next, SHORT_THIRD, short_shift);
		next += 3 * SHORT_THIRD;
	}
	for (; size >= 8; size -= 8, next += 8)
		crc = _mm_crc32_u64(crc, load(next));
	for (; size; size--, next++)
		crc = _mm_crc32_u8((uint32_t)crc, *next);
	return ~(uint32_t)crc;
}

/**
 * crc32c() - the CRC-32C of what @crc is of, followed by @size @bytes
 *
 * 0 is the CRC of nothing; crc32c(0, "123456789", 9) is 0xe3069283.
 */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t size)
{
	if (cpu_features()->sse42)
		return crc32c_sse42(crc, bytes, size);
	return crc32c_table(crc, bytes, size);
}
