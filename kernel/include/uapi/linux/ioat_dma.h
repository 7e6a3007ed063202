/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
#ifndef _UAPI_LINUX_IOAT_DMA_H
#define _UAPI_LINUX_IOAT_DMA_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * DOC: General ioctl format
 *
 * /dev/ioat-dma copies between device-dax devices with DMA channels of the
 * kernel's dmaengine: I/OAT, and those of other drivers that the module's
 * parameter drivers= names. Everything belongs to the open file: regions,
 * requests and unread completions.
 *
 * Every struct begins with its own size, which the caller sets to what it was
 * built with, so that structs can grow at their end: a kernel takes a shorter
 * struct as if the rest were zero, and a longer one if what it does not know is
 * zero. Fields named out_* are written by the kernel, only if the ioctl
 * succeeds. Padding and flags that are not defined must be zero.
 *
 * What each errno means, for every ioctl of this interface:
 *
 *  - ENOTTY: the ioctl is not known.
 *  - E2BIG: the struct is larger than this kernel knows, and the rest is not
 *    zero.
 *  - EINVAL: the struct is smaller than the ioctl needs, or a field is out of
 *    its range.
 *  - EOPNOTSUPP: a flag or a reserved field is set that this kernel does not
 *    know, or the device is of a kind that cannot be used.
 *  - EFAULT: a pointer cannot be read or written.
 *  - ENOENT: there is no region or tag of that name, and never was a channel.
 *  - ERANGE: a range ends outside its device or region.
 *  - EBADF: the file descriptor of a region is not open.
 *  - EACCES: the caller's own file descriptor does not allow that.
 *  - ENODEV: it is not a device-dax device; or no channel is there to use, or
 *    the one that was asked for is gone or set aside.
 *  - ENXIO: the device-dax device was there, and is going or gone.
 *  - EMFILE: this open file has as many regions as it may have, or all open
 *    files of its user together have; also an open(2) by a user with as many
 *    open files.
 *  - EAGAIN: this open file has as many requests in flight and unread
 *    completions as it may have, or all open files of its user together have;
 *    also a non-blocking read with nothing to read, and mappings of the caller
 *    that another thread changed while a region was made.
 *  - ENOMEM: as everywhere; also RLIMIT_AS, or RLIMIT_MEMLOCK after
 *    mlockall(MCL_FUTURE), leaves no room for a mapping of the device's
 *    alignment, which making a region takes for a moment.
 *  - EINTR: as everywhere.
 *
 * A user is the user id that opened the file. All open files of a user
 * together may have 16 times the requests and segments of one, and 64 times the
 * regions; there may be 1024 of them.
 *
 * The same numbers never report how a copy went: that is in its completion.
 */

/**
 * DOC: When memory is the caller's again
 *
 * No status that allows a retry, or another use of a range, is ever reported
 * while hardware may still write there. A completion says that the hardware has
 * nothing more to do with the request, whatever its status, unless it has the
 * flag IOAT_DMA_COMPLETION_UNSETTLED. Only IOAT_DMA_TIMED_OUT comes with that
 * flag, for a request that timed out before the hardware was done, whatever
 * else had stopped it before; a second completion, with
 * IOAT_DMA_COMPLETION_SETTLED, follows once the hardware is. close(2) and the
 * old interfaces' ioctls return only then.
 *
 * An operation that hangs is taken from the hardware within some 15 s. A driver
 * that cannot stop its hardware (not ioatdma) makes all of these wait for as
 * long as that takes. Only if such a driver is unbound in the meantime, or the
 * module unloaded, is the request reported as GONE: from then on it is that
 * driver's removal that has to stop the hardware.
 */
#define IOAT_DMA_IOC_MAGIC 0xad

enum {
	IOAT_DMA_CMD_BASE = 0x40,
	IOAT_DMA_CMD_INFO = IOAT_DMA_CMD_BASE,
	IOAT_DMA_CMD_CHANNEL_INFO,
	IOAT_DMA_CMD_REGION_CREATE,
	IOAT_DMA_CMD_REGION_DESTROY,
	IOAT_DMA_CMD_SUBMIT,
	IOAT_DMA_CMD_CANCEL,
};

/* Grows with every addition to this interface; nothing is ever taken away. */
#define IOAT_DMA_ABI 1

/**
 * enum ioat_dma_refusal - why the channels of a provider are not used
 * @IOAT_DMA_REFUSED_DRIVER: the module's parameter drivers= does not name its
 *                           driver
 * @IOAT_DMA_REFUSED_ORDER: it completes operations out of order
 * @IOAT_DMA_REFUSED_ALIGNMENT: it cannot copy from and to any byte
 * @IOAT_DMA_REFUSED_ERRORS: it reports failed operations as done
 * @IOAT_DMA_REFUSED_BUS: its device is neither on the PCI nor on the platform
 *                        bus, so that its removal would not be noticed
 *
 * All but the first hold whatever the parameter says.
 */
enum ioat_dma_refusal {
	IOAT_DMA_REFUSED_DRIVER = 1,
	IOAT_DMA_REFUSED_ORDER = 2,
	IOAT_DMA_REFUSED_ALIGNMENT = 3,
	IOAT_DMA_REFUSED_ERRORS = 4,
	IOAT_DMA_REFUSED_BUS = 5,
};

/* How many of them IOAT_DMA_INFO has room for. */
#define IOAT_DMA_MAX_REFUSED 8

/**
 * struct ioat_dma_refused - a provider whose channels are not used
 * @driver: its driver, NUL-terminated
 * @device: its device, NUL-terminated
 * @reason: enum ioat_dma_refusal
 * @__reserved: zero
 */
struct ioat_dma_refused {
	__u8 driver[32];
	__u8 device[32];
	__u32 reason;
	__u32 __reserved;
};

/**
 * struct ioat_dma_info - ioctl(IOAT_DMA_INFO)
 * @size: sizeof(struct ioat_dma_info)
 * @flags: zero
 * @out_abi: IOAT_DMA_ABI of the module
 * @out_version: of the module: major << 16 | minor << 8 | patch
 * @out_channels: channels that take work now
 * @out_channel_limit: channel ids are below this; those that are not in use
 *                     answer ENOENT
 * @out_max_regions: regions that an open file may have
 * @out_max_requests: requests in flight and unread completions that an open
 *                    file may have
 * @out_max_segments: segments of one request
 * @out_max_queued: segments of all requests of an open file
 * @out_max_timeout_ms: the longest timeout of a request
 * @out_piece_size: bytes of the largest copy that a channel is given at once
 * @out_completion_size: bytes of each record that read(2) returns
 * @out_refused_count: number of @out_refused
 * @out_refused: providers of DMA channels that are not used; the first of them
 *               if there are more
 *
 * What this module is and what it allows.
 */
struct ioat_dma_info {
	__u32 size;
	__u32 flags;
	__u32 out_abi;
	__u32 out_version;
	__u32 out_channels;
	__u32 out_channel_limit;
	__u32 out_max_regions;
	__u32 out_max_requests;
	__u32 out_max_segments;
	__u32 out_max_queued;
	__u32 out_max_timeout_ms;
	__u32 out_piece_size;
	__u32 out_completion_size;
	__u32 out_refused_count;
	struct ioat_dma_refused out_refused[IOAT_DMA_MAX_REFUSED];
};

#define IOAT_DMA_INFO _IO(IOAT_DMA_IOC_MAGIC, IOAT_DMA_CMD_INFO)

/**
 * enum ioat_dma_channel_state - what a channel is doing
 * @IOAT_DMA_CHANNEL_GONE: its device was removed or its driver unbound; its
 *                         counters are still there
 * @IOAT_DMA_CHANNEL_READY: it takes work
 * @IOAT_DMA_CHANNEL_RECOVERING: an operation failed or hangs; nothing new is
 *                               given to it until one of the module's own has
 *                               gone through
 * @IOAT_DMA_CHANNEL_SET_ASIDE: it did not recover, and is tried again from time
 *                              to time
 */
enum ioat_dma_channel_state {
	IOAT_DMA_CHANNEL_GONE = 0,
	IOAT_DMA_CHANNEL_READY = 1,
	IOAT_DMA_CHANNEL_RECOVERING = 2,
	IOAT_DMA_CHANNEL_SET_ASIDE = 3,
};

/**
 * struct ioat_dma_channel_info - ioctl(IOAT_DMA_CHANNEL_INFO)
 * @size: sizeof(struct ioat_dma_channel_info)
 * @channel: id of the channel, below out_channel_limit; ENOENT if there never
 *           was one
 * @out_state: enum ioat_dma_channel_state
 * @out_numa_node: of its device, or -1
 * @out_in_flight: operations that the hardware has now
 * @__reserved: zero
 * @out_name: as in /sys/class/dma, NUL-terminated
 * @out_driver: of its device, NUL-terminated
 * @out_operations: operations that were done
 * @out_bytes: bytes that they copied
 * @out_read_errors: operations whose source could not be read
 * @out_write_errors: operations whose destination could not be written
 * @out_aborted: operations thrown out with another's fault
 * @out_lost: operations whose end the driver did not report
 * @out_timeouts: requests whose time was over while it had a part of them
 * @out_recoveries: times that it came back
 *
 * A channel and its counters since the module found it.
 */
struct ioat_dma_channel_info {
	__u32 size;
	__u32 channel;
	__u32 out_state;
	__s32 out_numa_node;
	__u32 out_in_flight;
	__u32 __reserved;
	__u8 out_name[32];
	__u8 out_driver[32];
	__aligned_u64 out_operations;
	__aligned_u64 out_bytes;
	__aligned_u64 out_read_errors;
	__aligned_u64 out_write_errors;
	__aligned_u64 out_aborted;
	__aligned_u64 out_lost;
	__aligned_u64 out_timeouts;
	__aligned_u64 out_recoveries;
};

#define IOAT_DMA_CHANNEL_INFO _IO(IOAT_DMA_IOC_MAGIC, IOAT_DMA_CMD_CHANNEL_INFO)

/**
 * struct ioat_dma_region_create - ioctl(IOAT_DMA_REGION_CREATE)
 * @size: sizeof(struct ioat_dma_region_create)
 * @flags: zero
 * @fd: open on a device-dax device, for reading; for writing as well if the
 *      region is to be a destination
 * @__reserved: zero
 * @offset: of the region in the device; any byte
 * @length: of the region; any number of bytes but zero
 * @out_region: its id, for this open file
 * @out_numa_node: where the memory is, or -1
 *
 * Names memory, to copy from and to. @fd may be closed afterwards: the region
 * keeps the file open (and with it any flock on it), but neither pins its
 * memory nor keeps the device from being removed. When the device loses its
 * driver, the region closes the file and is of no more use, even if the device
 * comes back.
 *
 * No other thread can use the id before this ioctl has written it to
 * @out_region.
 *
 * DMA does not look at pages that the kernel marked as poisoned
 * (memory_failure()). If the hardware cannot read one, the copy fails with
 * IOAT_DMA_ERROR_READ.
 */
struct ioat_dma_region_create {
	__u32 size;
	__u32 flags;
	__s32 fd;
	__u32 __reserved;
	__aligned_u64 offset;
	__aligned_u64 length;
	__u32 out_region;
	__s32 out_numa_node;
};

#define IOAT_DMA_REGION_CREATE \
	_IO(IOAT_DMA_IOC_MAGIC, IOAT_DMA_CMD_REGION_CREATE)

/**
 * struct ioat_dma_region_destroy - ioctl(IOAT_DMA_REGION_DESTROY)
 * @size: sizeof(struct ioat_dma_region_destroy)
 * @region: its id
 *
 * Takes the name away. Requests that were submitted with it go on.
 */
struct ioat_dma_region_destroy {
	__u32 size;
	__u32 region;
};

#define IOAT_DMA_REGION_DESTROY \
	_IO(IOAT_DMA_IOC_MAGIC, IOAT_DMA_CMD_REGION_DESTROY)

/**
 * struct ioat_dma_segment - one contiguous part of a request
 * @src_offset: first byte, counted from the start of the source region
 * @dst_offset: first byte, counted from the start of the destination region
 * @length: any number of bytes but zero
 *
 * Source and destination must not overlap each other (EINVAL).
 */
struct ioat_dma_segment {
	__aligned_u64 src_offset;
	__aligned_u64 dst_offset;
	__aligned_u64 length;
};

/* As a channel: whichever is near the memory and has least to do. */
#define IOAT_DMA_ANY_CHANNEL 0xffffffffu

/*
 * A segment begins only once all before it have ended, so it sees what they
 * wrote. Without it segments are copied in any order, and at the same time.
 */
#define IOAT_DMA_SUBMIT_ORDERED (1u << 0)

/**
 * struct ioat_dma_submit - ioctl(IOAT_DMA_SUBMIT)
 * @size: sizeof(struct ioat_dma_submit)
 * @flags: IOAT_DMA_SUBMIT_*
 * @tag: the caller's name for the request, given back in its completion; need
 *       not be unique
 * @src_region: where from
 * @dst_region: where to; its file must have been open for writing (EACCES)
 * @channel: id of a channel, or IOAT_DMA_ANY_CHANNEL
 * @timeout_ms: from now on; zero is 10 s
 * @segments: address of an array of struct ioat_dma_segment
 * @segment_count: of that array, 1 to out_max_segments
 * @__reserved: zero
 *
 * Starts a request, which may use several channels at a time. It returns
 * before the copy is done; exactly one completion follows, or two if the
 * first is UNSETTLED. On failure nothing was copied and there is none.
 *
 * A copy that is done is seen by every CPU, but is not persistent by that: the
 * hardware may have written it into the CPUs' caches, which are the caller's to
 * write back.
 */
struct ioat_dma_submit {
	__u32 size;
	__u32 flags;
	__aligned_u64 tag;
	__u32 src_region;
	__u32 dst_region;
	__u32 channel;
	__u32 timeout_ms;
	__aligned_u64 segments;
	__u32 segment_count;
	__u32 __reserved;
};

#define IOAT_DMA_SUBMIT _IO(IOAT_DMA_IOC_MAGIC, IOAT_DMA_CMD_SUBMIT)

/**
 * struct ioat_dma_cancel - ioctl(IOAT_DMA_CANCEL)
 * @size: sizeof(struct ioat_dma_cancel)
 * @out_canceled: how many requests were stopped
 * @tag: of the requests
 *
 * No more of any request with that tag is given to a channel. What a channel
 * has already goes on, and then the request's completion says CANCELED, or how
 * it ended if all of it was with channels before. ENOENT if no request in
 * flight has that tag.
 */
struct ioat_dma_cancel {
	__u32 size;
	__u32 out_canceled;
	__aligned_u64 tag;
};

#define IOAT_DMA_CANCEL _IO(IOAT_DMA_IOC_MAGIC, IOAT_DMA_CMD_CANCEL)

/**
 * enum ioat_dma_status - how a request ended
 * @IOAT_DMA_DONE: every byte was copied
 * @IOAT_DMA_FAILED: an operation of this very request failed; see the error
 * @IOAT_DMA_ABORTED: an operation was thrown out because another one failed on
 *                    its channel; to try it again is safe
 * @IOAT_DMA_CANCELED: IOAT_DMA_CANCEL
 * @IOAT_DMA_TIMED_OUT: its time was over first
 * @IOAT_DMA_GONE: a device-dax device of it was removed; or a channel that had
 *                 a piece of it was removed or set aside, or all channels that
 *                 it could use were; see the error
 */
enum ioat_dma_status {
	IOAT_DMA_DONE = 0,
	IOAT_DMA_FAILED = 1,
	IOAT_DMA_ABORTED = 2,
	IOAT_DMA_CANCELED = 3,
	IOAT_DMA_TIMED_OUT = 4,
	IOAT_DMA_GONE = 5,
};

/**
 * enum ioat_dma_error - the kind of a failure
 * @IOAT_DMA_ERROR_NONE: none
 * @IOAT_DMA_ERROR_READ: the channel could not read the source
 * @IOAT_DMA_ERROR_WRITE: the channel could not write the destination
 * @IOAT_DMA_ERROR_LOST: the channel was reset, or did not report the end; the
 *                       bytes may or may not be there
 * @IOAT_DMA_ERROR_MAP: the memory could not be mapped for the channel
 * @IOAT_DMA_ERROR_DEVICE: the device-dax device was removed
 * @IOAT_DMA_ERROR_CHANNEL: the channel was removed or set aside; to try the
 *                          request again is safe, and others may copy it
 */
enum ioat_dma_error {
	IOAT_DMA_ERROR_NONE = 0,
	IOAT_DMA_ERROR_READ = 1,
	IOAT_DMA_ERROR_WRITE = 2,
	IOAT_DMA_ERROR_LOST = 3,
	IOAT_DMA_ERROR_MAP = 4,
	IOAT_DMA_ERROR_DEVICE = 5,
	IOAT_DMA_ERROR_CHANNEL = 6,
};

/*
 * The hardware may still write to the destination, and read from the source, of
 * this request, which is IOAT_DMA_TIMED_OUT. The kernel does not give its
 * memory away until SETTLED; to hold off other writers of the same bytes is up
 * to the caller.
 */
#define IOAT_DMA_COMPLETION_UNSETTLED (1u << 0)
/*
 * The second completion of a request whose first was read as UNSETTLED: the
 * same but for its flags, and the hardware has nothing more to do with it.
 */
#define IOAT_DMA_COMPLETION_SETTLED (1u << 1)

/**
 * struct ioat_dma_completion - what read(2) returns, as many as fit
 * @tag: of the request
 * @bytes_done: bytes that are known to be copied; of a request that was not
 *              done, not necessarily the first ones
 * @submitted_ns: CLOCK_MONOTONIC
 * @completed_ns: CLOCK_MONOTONIC
 * @status: enum ioat_dma_status
 * @error: enum ioat_dma_error
 * @channel: which failed, or else which was given the last piece; or
 *           IOAT_DMA_ANY_CHANNEL if none had anything to do with it
 * @segment: index of the segment that failed; else zero
 * @flags: IOAT_DMA_COMPLETION_*
 * @__reserved: zero
 * @channels: a bit for each channel with an id below 64 that was given a piece
 *            of it
 *
 * Records are out_completion_size bytes each (IOAT_DMA_INFO), which may be more
 * than this struct if the module is newer, and less if it is older: a reader
 * goes from one to the next by that size. read(2) needs room for one at least
 * (EINVAL) and waits for the first, unless the file is non-blocking (EAGAIN).
 * poll(2) reports POLLIN when there is one.
 */
struct ioat_dma_completion {
	__aligned_u64 tag;
	__aligned_u64 bytes_done;
	__aligned_u64 submitted_ns;
	__aligned_u64 completed_ns;
	__u32 status;
	__u32 error;
	__u32 channel;
	__u32 segment;
	__u32 flags;
	__u32 __reserved;
	__aligned_u64 channels;
};

/**
 * DOC: The two interfaces of the module that this one replaces
 *
 * They live beside the above: direction and size tell them apart. Their structs
 * are packed and have no size of their own. Failed copies are reported as such:
 * EIO (a fault), ETIMEDOUT, ENXIO (device or channel removed).
 */

/**
 * struct ioat_dma_legacy_copy - ioctl(IOAT_DMA_LEGACY_COPY)
 * @device_name: path of a device-dax device, NUL-terminated
 * @src_offset: in that device
 * @dst_offset: in that device
 * @size: bytes
 *
 * Copies on one device and returns when it is done. Its first name was
 * IOCTL_IOAT_DMA_SUBMIT, with struct ioctl_dma_args.
 */
struct ioat_dma_legacy_copy {
	char device_name[64];
	__u64 src_offset;
	__u64 dst_offset;
	__u64 size;
} __attribute__((packed));

/**
 * struct ioat_dma_legacy_start - ioctl(IOAT_DMA_LEGACY_START)
 * @device_id: from IOAT_DMA_LEGACY_RESERVE on the same open file
 * @device_name: path of a device-dax device, NUL-terminated
 * @src_offset: in that device
 * @dst_offset: in that device
 * @size: bytes
 *
 * Starts a copy and returns at once. ENODEV for an id that the caller does not
 * hold.
 */
struct ioat_dma_legacy_start {
	__u64 device_id;
	char device_name[32];
	__u64 src_offset;
	__u64 dst_offset;
	__u64 size;
} __attribute__((packed));

/**
 * struct ioat_dma_legacy_wait - ioctl(IOAT_DMA_LEGACY_WAIT)
 * @device_id: from IOAT_DMA_LEGACY_RESERVE on the same open file
 * @completed: how many of the copies started there since the last wait were
 *             done; written in any case, and if some were not, the ioctl fails
 *             with what became of the first of those
 */
struct ioat_dma_legacy_wait {
	__u64 device_id;
	__u64 completed;
} __attribute__((packed));

/* Copies, and returns when it is done. */
#define IOAT_DMA_LEGACY_COPY \
	_IOW(IOAT_DMA_IOC_MAGIC, 0, struct ioat_dma_legacy_copy)
/* How many channels there are. */
#define IOAT_DMA_LEGACY_COUNT _IOR(IOAT_DMA_IOC_MAGIC, 0, __u64)
/* Reserves a channel until the file is closed; ENODEV when none is left. */
#define IOAT_DMA_LEGACY_RESERVE _IOR(IOAT_DMA_IOC_MAGIC, 1, __u64)
/* Starts a copy on a reserved channel. */
#define IOAT_DMA_LEGACY_START \
	_IOW(IOAT_DMA_IOC_MAGIC, 0, struct ioat_dma_legacy_start)
/* Waits for all that was started on a reserved channel. */
#define IOAT_DMA_LEGACY_WAIT \
	_IOWR(IOAT_DMA_IOC_MAGIC, 0, struct ioat_dma_legacy_wait)

#endif /* _UAPI_LINUX_IOAT_DMA_H */
