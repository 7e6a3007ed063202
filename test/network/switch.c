/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network of several namespaces in which any two can be cut from each other: a TUN device for each,
 * and this program between them. Not a bridge and nftables, which kernels may lack. What is cut is lost
 * without a word, as by a cable that is pulled.
 *
 *   switch PREFIX DEVICE...
 *
 * Device N, from 1 on, has the address PREFIX.N, such as 10.78.0.1. Makes all of them, says "ready", and
 * obeys lines on standard input: "cut N M" and "mend", which undoes all cuts. It ends with its input.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MAX_DEVICES 32
#define PACKET_SIZE 2048
/* Where an IPv4 packet has its destination. */
#define DESTINATION 16
#define HEADER_SIZE 20

static int devices[MAX_DEVICES + 1];
static int count;
static int is_cut[MAX_DEVICES + 1][MAX_DEVICES + 1];
static uint32_t network;

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

static void forward(int from)
{
	unsigned char packet[PACKET_SIZE];
	uint32_t address, to;
	ssize_t size;

	while ((size = read(devices[from], packet, sizeof(packet))) > 0) {
		if (size < HEADER_SIZE || packet[0] >> 4 != 4)
			continue;
		memcpy(&address, packet + DESTINATION, sizeof(address));
		to = ntohl(address) - network;
		if (to < 1 || to > (uint32_t)count || is_cut[from][to])
			continue;
		/* What does not fit now is lost, and sent again. */
		if (write(devices[to], packet, (size_t)size) < 0)
			continue;
	}
}

/* Returns 0 at the end of the input. */
static int obey(void)
{
	char line[64];
	int a, b;

	if (fgets(line, sizeof(line), stdin) == NULL)
		return 0;
	if (strcmp(line, "mend\n") == 0)
		memset(is_cut, 0, sizeof(is_cut));
	else if (sscanf(line, "cut %d %d", &a, &b) == 2 && a >= 1 && a <= count && b >= 1 && b <= count)
		is_cut[a][b] = is_cut[b][a] = 1;
	return 1;
}

int main(int argc, char **argv)
{
	struct pollfd polled[MAX_DEVICES + 1] = { { .fd = STDIN_FILENO, .events = POLLIN } };
	struct in_addr address;
	char text[64];

	count = argc - 2;
	if (count < 1 || count > MAX_DEVICES)
		return 2;
	snprintf(text, sizeof(text), "%s.0", argv[1]);
	if (inet_pton(AF_INET, text, &address) != 1)
		return 2;
	network = ntohl(address.s_addr);
	for (int i = 1; i <= count; i++) {
		devices[i] = open_tun(argv[i + 1]);
		polled[i] = (struct pollfd){ .fd = devices[i], .events = POLLIN };
	}
	/* So that poll(2) sees each line. */
	setvbuf(stdin, NULL, _IONBF, 0);
	puts("ready");
	fflush(stdout);
	for (;;) {
		poll(polled, (nfds_t)count + 1, -1);
		if (polled[0].revents != 0 && !obey())
			return 0;
		for (int i = 1; i <= count; i++)
			if (polled[i].revents & POLLIN)
				forward(i);
	}
}
