/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A link between two network namespaces whose delay, loss and rate can be set while it is up: two
 * TUN devices, and this program between them. Not tc-netem(8), which kernels may lack.
 *
 *   link DEVICE DEVICE
 *
 * Makes both devices, says "ready", and obeys lines on standard input: "delay MS", "loss PERCENT",
 * "rate BITS_PER_SECOND" (0: as fast as it goes), "cut" and "mend". It ends with its input.
 */
#define _GNU_SOURCE /* ppoll() */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define PACKET_SIZE 2048
/* What waits in one direction; what comes beyond is lost, as in a router. */
#define QUEUE_LENGTH 4096

struct packet {
	uint64_t due_ns;
	ssize_t size;
	unsigned char bytes[PACKET_SIZE];
};

struct direction {
	struct packet *queue;
	unsigned int head, count;
	/* When the last packet has left a link of limited rate. */
	uint64_t free_ns;
};

static uint64_t delay_ns;
static double loss;
static double rate;
static int is_cut;

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int open_tun(const char *name)
{
	struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0) {
		perror(name);
		exit(1);
	}
	return fd;
}

static void receive(int fd, struct direction *to)
{
	static unsigned char dropped[PACKET_SIZE];

	for (;;) {
		struct packet *packet = &to->queue[(to->head + to->count) % QUEUE_LENGTH];
		int full = to->count == QUEUE_LENGTH;
		ssize_t size = read(fd, full ? dropped : packet->bytes, PACKET_SIZE);
		uint64_t now = now_ns(), leaves = now;

		if (size <= 0)
			return;
		if (full || is_cut || drand48() * 100 < loss)
			continue;
		if (rate > 0) {
			uint64_t begins = to->free_ns > now ? to->free_ns : now;

			leaves = begins + (uint64_t)((double)size * 8e9 / rate);
			to->free_ns = leaves;
		}
		packet->due_ns = leaves + delay_ns;
		packet->size = size;
		to->count++;
	}
}

/* Returns when the next packet is due; UINT64_MAX: there is none. */
static uint64_t deliver(int fd, struct direction *to)
{
	while (to->count > 0) {
		struct packet *packet = &to->queue[to->head];

		if (packet->due_ns > now_ns())
			return packet->due_ns;
		if (write(fd, packet->bytes, (size_t)packet->size) < 0 && errno == EAGAIN)
			return now_ns() + 100000;
		to->head = (to->head + 1) % QUEUE_LENGTH;
		to->count--;
	}
	return UINT64_MAX;
}

/* Returns 0 at the end of the input. */
static int obey(void)
{
	char text[256];
	ssize_t size = read(STDIN_FILENO, text, sizeof(text) - 1);

	if (size <= 0)
		return 0;
	text[size] = '\0';
	for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
		double value = 0;
		char word[16] = "";

		sscanf(line, "%15s %lf", word, &value);
		if (strcmp(word, "delay") == 0)
			delay_ns = (uint64_t)(value * 1e6);
		else if (strcmp(word, "loss") == 0)
			loss = value;
		else if (strcmp(word, "rate") == 0)
			rate = value;
		else
			is_cut = strcmp(word, "cut") == 0;
	}
	return 1;
}

int main(int argc, char **argv)
{
	struct direction directions[2] = { 0 };
	struct pollfd polled[3] = { { .fd = STDIN_FILENO, .events = POLLIN } };
	uint64_t due[2] = { UINT64_MAX, UINT64_MAX };

	if (argc != 3)
		return 2;
	srand48((long)now_ns());
	for (int i = 0; i < 2; i++) {
		directions[i].queue = calloc(QUEUE_LENGTH, sizeof(struct packet));
		if (directions[i].queue == NULL)
			return 1;
		polled[i + 1] = (struct pollfd){ .fd = open_tun(argv[i + 1]), .events = POLLIN };
	}
	puts("ready");
	fflush(stdout);
	for (;;) {
		uint64_t next = due[0] < due[1] ? due[0] : due[1], now = now_ns();
		uint64_t wait = next <= now ? 0 : next - now;
		struct timespec timeout = { .tv_sec = (time_t)(wait / 1000000000),
					    .tv_nsec = (long)(wait % 1000000000) };

		ppoll(polled, 3, next == UINT64_MAX ? NULL : &timeout, NULL);
		if (polled[0].revents != 0 && !obey())
			return 0;
		for (int i = 0; i < 2; i++) {
			if (polled[i + 1].revents & POLLIN)
				receive(polled[i + 1].fd, &directions[1 - i]);
		}
		for (int i = 0; i < 2; i++)
			due[i] = deliver(polled[i + 1].fd, &directions[i]);
	}
}
