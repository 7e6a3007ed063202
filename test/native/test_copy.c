// SPDX-License-Identifier: Apache-2.0
/* The copy kernels that this CPU has, and each instruction that writes back. */
#include "fixture.h"

#include <sys/mman.h>

#define SIZE 9000u
#define GUARD 128u

TEST(streaming_copies_every_byte_and_no_other)
{
	static unsigned char from[SIZE + 2 * GUARD];
	static unsigned char to[SIZE + 2 * GUARD];
	static unsigned char want[SIZE + 2 * GUARD];
	unsigned int kernels = 0;

	for (unsigned int n = 0; n < STREAM_KERNELS; n++) {
		const struct stream_kernel *kernel = &stream_kernels[n];

		if (!stream_kernel_usable(kernel)) {
			printf("# this CPU cannot run %s\n", kernel->name);
			continue;
		}
		kernels++;
		for (unsigned int round = 0; round < 6000 / SLOWNESS; round++) {
			size_t limit = round % 2 ? 300 : SIZE;
			size_t from_at = random_below(GUARD);
			size_t to_at = random_below(GUARD);
			size_t size = random_below(limit + 1);

			random_fill(from, sizeof(from));
			random_fill(to, sizeof(to));
			memcpy(want, to, sizeof(to));
			memcpy(want + to_at, from + from_at, size);
			copy_streaming(kernel, to + to_at, from + from_at, size);
			CHECK(memcmp(to, want, sizeof(to)) == 0);
		}
	}
	CHECK(kernels > 0);
}

/* Loads past the end of a source would fault at the end of its mapping. */
TEST(streaming_reads_nothing_past_the_end)
{
	size_t page = 4096;
	unsigned char *map = SYS((unsigned char *)mmap(NULL, 6 * page,
				PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

	SYS(mprotect(map + 2 * page, page, PROT_NONE));
	SYS(mprotect(map + 5 * page, page, PROT_NONE));
	for (unsigned int n = 0; n < STREAM_KERNELS; n++) {
		if (!stream_kernel_usable(&stream_kernels[n]))
			continue;
		for (size_t size = 1; size <= 2 * page; size += 1 + random_below(7)) {
			unsigned char *from = map + 2 * page - size;
			unsigned char *to = map + 5 * page - size;

			random_fill(from, size);
			copy_streaming(&stream_kernels[n], to, from, size);
			CHECK(memcmp(to, from, size) == 0);
		}
	}
}

TEST(write_back_runs_with_each_instruction)
{
	struct cpu_features features = *cpu_features();
	enum writeback_instruction best = features.writeback;
	static unsigned char bytes[5000];

	random_fill(bytes, sizeof(bytes));
	hooks.features = &features;
	for (unsigned int n = WRITEBACK_CLFLUSH; n <= best; n++) {
		features.writeback = (enum writeback_instruction)n;
		write_back(bytes + 1, 1);
		write_back(bytes + 63, 2);
		write_back(bytes + 7, sizeof(bytes) - 7);
		store_fence();
	}
}
