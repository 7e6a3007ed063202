// SPDX-License-Identifier: GPL-2.0-only
/* Calls of any kind, on files that other threads use and close. */
#include <fcntl.h>

#include "hammer.h"

#define ERRORS(...) ((const int[]){ __VA_ARGS__, 0 })

/* What the header says of every struct that has a size. */
#define STRUCT_ERRORS EINVAL, E2BIG, EOPNOTSUPP, EFAULT
/* Of a path, which is random, and of the range in the device that it names. */
#define PATH_ERRORS ENOENT, ENODEV, ENXIO, ENOTDIR, EISDIR, EACCES, ELOOP, ERANGE, EINVAL, EFAULT
/* Of what a copy waits for. */
#define COPY_ERRORS EIO, ETIMEDOUT, ENXIO, ENODEV, EAGAIN, EFAULT

static const struct {
	unsigned long command;
	uint32_t weight; /* how often; what maps memory takes long where all is checked */
	uint32_t size; /* of a struct that begins with it, else 0 */
	const int *errors;
} commands[CALLS] = {
	[CALL_INFO] = { IOAT_DMA_INFO, 24, sizeof(struct ioat_dma_info), ERRORS(STRUCT_ERRORS) },
	[CALL_CHANNEL_INFO] = { IOAT_DMA_CHANNEL_INFO, 48, sizeof(struct ioat_dma_channel_info),
				ERRORS(STRUCT_ERRORS, ENOENT) },
	[CALL_REGION_CREATE] = { IOAT_DMA_REGION_CREATE, 4, sizeof(struct ioat_dma_region_create),
				 ERRORS(STRUCT_ERRORS, EBADF, EACCES, ENODEV, ENXIO, ERANGE,
					EMFILE, EAGAIN) },
	[CALL_REGION_DESTROY] = { IOAT_DMA_REGION_DESTROY, 12,
				  sizeof(struct ioat_dma_region_destroy),
				  ERRORS(STRUCT_ERRORS, ENOENT) },
	[CALL_SUBMIT] = { IOAT_DMA_SUBMIT, 200, sizeof(struct ioat_dma_submit),
			  ERRORS(STRUCT_ERRORS, ENOENT, ENODEV, ENXIO, EACCES, ERANGE, EAGAIN) },
	[CALL_CANCEL] = { IOAT_DMA_CANCEL, 60, sizeof(struct ioat_dma_cancel),
			  ERRORS(STRUCT_ERRORS, ENOENT) },
	[CALL_LEGACY_COPY] = { IOAT_DMA_LEGACY_COPY, 1, 0, ERRORS(PATH_ERRORS, COPY_ERRORS) },
	[CALL_LEGACY_COUNT] = { IOAT_DMA_LEGACY_COUNT, 16, 0, ERRORS(EFAULT) },
	[CALL_LEGACY_RESERVE] = { IOAT_DMA_LEGACY_RESERVE, 16, 0, ERRORS(ENODEV, EFAULT) },
	[CALL_LEGACY_START] = { IOAT_DMA_LEGACY_START, 4, 0, ERRORS(PATH_ERRORS, ENODEV, EAGAIN) },
	[CALL_LEGACY_WAIT] = { IOAT_DMA_LEGACY_WAIT, 8, 0, ERRORS(COPY_ERRORS) },
	[CALL_UNKNOWN] = { 0, 24, 0, ERRORS(ENOTTY) },
};

static bool may_come(const int *errors, int error)
{
	while (*errors && *errors != error)
		errors++;
	return *errors;
}

static uint64_t interesting(struct worker *self)
{
	static const uint64_t values[] = {
		0, 1, 2, 3, 4095, 4096, 65536, 1 << 20, 1 << 21, 0x7fffffff, 0x80000000, 0xffffffff,
		1ULL << 32, 1ULL << 40, INT64_MAX, 1ULL << 63, UINT64_MAX - 4095, UINT64_MAX,
	};

	switch (pick(self, 8)) {
	case 0: case 1:
		return pick(self, UINT32_MAX) << 32 | pick(self, UINT32_MAX);
	case 2: case 3: case 4: case 5:
		return pick(self, 256);
	default:
		return values[pick(self, sizeof(values) / sizeof(values[0]))];
	}
}

static enum call random_call(struct worker *self)
{
	uint32_t total = 0, at;
	int i;

	for (i = 0; i < CALLS; i++)
		total += commands[i].weight;
	at = pick(self, total);
	for (i = 0; at >= commands[i].weight; i++)
		at -= commands[i].weight;
	return i;
}

/* Neither an own ioctl nor one of the five old ones, which have numbers 0 and 1. */
static unsigned long unknown_command(struct worker *self)
{
	uint32_t number = pick(self, 256);

	if (number <= 1 || (number >= IOAT_DMA_CMD_BASE && number <= IOAT_DMA_CMD_CANCEL))
		number = 0x80;
	return _IOC(pick(self, 4), IOAT_DMA_IOC_MAGIC, number, pick(self, 128));
}

union words {
	uint64_t word[16]; /* of INFO the rest is only written */
	uint32_t size;
	struct ioat_dma_info info;
	struct ioat_dma_region_create create;
	struct ioat_dma_submit submit;
	struct ioat_dma_region_destroy destroy;
	struct ioat_dma_cancel cancel;
	struct ioat_dma_channel_info channel;
	struct ioat_dma_legacy_copy copy;
	struct ioat_dma_legacy_start start;
	struct ioat_dma_legacy_wait wait;
};

static void random_submit(struct worker *self, struct ioat_dma_submit *submit,
			  struct ioat_dma_segment segments[16])
{
	uint32_t i;

	submit->flags &= IOAT_DMA_SUBMIT_ORDERED;
	submit->tag %= 256;
	submit->src_region %= 8;
	submit->dst_region %= 8;
	submit->channel = pick(self, 3) ? IOAT_DMA_ANY_CHANNEL : submit->channel % 4;
	submit->timeout_ms %= 2000;
	submit->segments = (uintptr_t)segments;
	submit->segment_count = pick(self, 4) ? 1 + submit->segment_count % 3 :
						submit->segment_count % 16;
	submit->__reserved = 0;
	for (i = 0; i < submit->segment_count; i++)
		segments[i] = (struct ioat_dma_segment){
			interesting(self) % MIB, interesting(self) % MIB,
			interesting(self) % (pick(self, 64) ? 8192 : 4 * MIB),
		};
}

/* Mostly such that it gets past the first checks, and never such that it writes past WILD_END. */
static void random_argument(struct worker *self, enum call call, union words *words,
			    struct ioat_dma_segment segments[16])
{
	const char *path = pick(self, 2) ? DAX0 : DAX1;
	int i;

	for (i = 0; i < 16; i++)
		words->word[i] = interesting(self);
	if (pick(self, 8) == 0)
		return;
	if (commands[call].size)
		words->size = commands[call].size;
	switch (call) {
	case CALL_CHANNEL_INFO:
		words->channel.channel %= 8;
		words->channel.__reserved = 0;
		break;
	case CALL_REGION_CREATE:
		words->create.flags = words->create.__reserved = 0;
		words->create.fd = hammer.dax[pick(self, 2)];
		words->create.offset %= pick(self, 8) ? 100 * MIB : 300 * MIB;
		/* past the end of the device, if it is past what may be written */
		words->create.length = words->create.offset < 100 * MIB ?
			words->create.length % (16 * MIB) : 300 * MIB;
		break;
	case CALL_REGION_DESTROY:
		words->destroy.region %= 64;
		break;
	case CALL_SUBMIT:
		random_submit(self, &words->submit, segments);
		break;
	case CALL_CANCEL:
		words->cancel.tag %= 256;
		break;
	case CALL_LEGACY_COPY:
		strcpy(words->copy.device_name, path);
		words->copy.src_offset %= 100 * MIB;
		words->copy.dst_offset %= 100 * MIB;
		words->copy.size %= 65536;
		break;
	case CALL_LEGACY_START:
		words->start.device_id %= 4;
		strcpy(words->start.device_name, path);
		words->start.src_offset %= 100 * MIB;
		words->start.dst_offset %= 100 * MIB;
		words->start.size %= 65536;
		break;
	case CALL_LEGACY_WAIT:
		words->wait.device_id %= 4;
		break;
	case CALL_INFO:
		words->info.flags = 0;
		break;
	default:
		break;
	}
}

/* Another file in its place: what was open is closed under the other threads' hands. */
static void replace(int fd)
{
	int fresh = DO(open("/dev/ioat-dma", O_RDWR | O_NONBLOCK));

	DO(dup2(fresh, fd));
	close(fresh);
}

void wild_call(struct worker *self)
{
	enum call call = random_call(self);
	unsigned long command = call == CALL_UNKNOWN ? unknown_command(self) : commands[call].command;
	bool names_path = call == CALL_LEGACY_COPY || call == CALL_LEGACY_START;
	int fd = hammer.files[pick(self, SHARED_FILES)], error;
	struct ioat_dma_segment segments[16];
	struct ioat_dma_completion done[64];
	union words words;

	random_argument(self, call, &words, segments);
	if (names_path)
		pthread_rwlock_rdlock(&hammer.node);
	error = counted_ioctl(self, call, fd, command,
			      pick(self, 50) ? &words : (void *)interesting(self));
	if (names_path)
		pthread_rwlock_unlock(&hammer.node);
	if (error && !may_come(commands[call].errors, error))
		FAIL("ioctl %#lx: %s", command, strerror(error));
	if (pick(self, 8) == 0 && read(fd, done, sizeof(done)) < 0)
		EXPECT(errno == EAGAIN);
	if (pick(self, 1000) == 0)
		replace(fd);
}
