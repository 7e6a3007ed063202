// SPDX-License-Identifier: Apache-2.0
/* CRC-32C against its definition, bit by bit. */
#include "fixture.h"

#include <sys/stat.h>
#include <unistd.h>

static uint32_t crc_by_bits(uint32_t crc, const unsigned char *bytes, size_t size)
{
	crc = ~crc;
	for (size_t n = 0; n < size; n++) {
		crc ^= bytes[n];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return ~crc;
}

/* The check value, and the vectors of RFC 3720 appendix B.4 */
TEST(crc32c_gives_the_published_values)
{
	unsigned char bytes[32];

	crc32c_init();
	CHECK_EQ(crc32c(0, "123456789", 9), 0xe3069283u);
	CHECK_EQ(crc32c_table(0, "123456789", 9), 0xe3069283u);
	memset(bytes, 0, sizeof(bytes));
	CHECK_EQ(crc32c(0, bytes, sizeof(bytes)), 0x8a9136aau);
	memset(bytes, 0xff, sizeof(bytes));
	CHECK_EQ(crc32c(0, bytes, sizeof(bytes)), 0x62a8ab43u);
	for (unsigned int n = 0; n < sizeof(bytes); n++)
		bytes[n] = (unsigned char)n;
	CHECK_EQ(crc32c(0, bytes, sizeof(bytes)), 0x46dd794eu);
	CHECK_EQ(crc32c(0, bytes, 0), 0);
	CHECK_EQ(crc32c(0x1234, bytes, 0), 0x1234);
}

TEST(crc32c_agrees_with_its_definition)
{
	static unsigned char bytes[100000];

	crc32c_init();
	random_fill(bytes, sizeof(bytes));
	for (size_t size = 0; size < 1200; size++) {
		size_t at = random_below(64);
		uint32_t seed = (uint32_t)random_u64();
		uint32_t want = crc_by_bits(seed, bytes + at, size);

		CHECK_EQ(crc32c(seed, bytes + at, size), want);
		CHECK_EQ(crc32c_table(seed, bytes + at, size), want);
	}
	for (unsigned int round = 0; round < rounds(60); round++) {
		size_t size = random_below(sizeof(bytes) - 64);
		size_t at = random_below(64);
		uint32_t want = crc_by_bits(0, bytes + at, size);

		CHECK_EQ(crc32c(0, bytes + at, size), want);
		CHECK_EQ(crc32c_table(0, bytes + at, size), want);
	}
}

TEST(crc32c_of_parts_makes_that_of_the_whole)
{
	static unsigned char bytes[60000];

	crc32c_init();
	random_fill(bytes, sizeof(bytes));
	for (unsigned int round = 0; round < 200; round++) {
		uint32_t seed = (uint32_t)random_u64();
		size_t size = 1 + random_below(sizeof(bytes));
		size_t cut = random_below(size + 1);
		uint32_t whole = crc32c(seed, bytes, size);
		uint32_t head = crc32c(seed, bytes, cut);
		uint32_t tail = crc32c(0, bytes + cut, size - cut);

		CHECK_EQ(crc32c(head, bytes + cut, size - cut), whole);
		CHECK_EQ(crc32c_shift(head, size - cut) ^ tail, whole);
	}
}

/* Appending is a group: what cannot be computed directly can be put together. */
TEST(crc32c_shift_adds_up_over_any_distance)
{
	crc32c_init();
	CHECK_EQ(crc32c_shift(0x12345678, 0), 0x12345678);
	for (unsigned int round = 0; round < 1000; round++) {
		uint32_t crc = (uint32_t)random_u64();
		uint64_t one = random_u64() >> (4 + random_below(60));
		uint64_t other = random_u64() >> (4 + random_below(60));

		CHECK_EQ(crc32c_shift(crc32c_shift(crc, one), other),
			 crc32c_shift(crc, one + other));
	}
}

TEST(checksums_of_holes_in_memory_give_them_no_pages)
{
	struct context context = context_open(2);
	struct file a = file_device(&context, "a", 8 * MIB);
	struct dma_shim_job job = job_of(1, a.handle, DMA_SHIM_NOWHERE);
	struct dma_shim_completion done;
	struct stat stat;
	unsigned char *expected;

	if (strncmp(scratch(), "/dev/shm", 8))
		SKIP("no /dev/shm");
	expected = calloc(1, 8 * MIB);
	CHECK(expected);
	memcpy(expected + 3 * MIB + 5, "bytes", 5);
	CHECK_EQ(pwrite(a.descriptor, "bytes", 5, 3 * MIB + 5), 5);
	job.flags = DMA_SHIM_JOB_CHECKSUM;
	CHECK_EQ(submit_one(&context, job, 1, 0, 8 * MIB - 1), 0);
	done = next_done(&context);
	CHECK_EQ(done.status, 0);
	CHECK_EQ(done.bytes_done, 8 * MIB - 1);
	CHECK_EQ(done.source_crc, crc32c(0, expected + 1, 8 * MIB - 1));
	SYS(fstat(a.descriptor, &stat));
	CHECK_EQ(stat.st_blocks, 8);
	free(expected);
	context_close(&context);
}
