// SPDX-License-Identifier: Apache-2.0
/*
 * What HTTP is measured against, and by whom:
 *
 *   content serve FILE
 *	The least that a server does: FILE is mapped whole, GET is answered by a loop of
 *	send(2) from the mapping, and PUT by a loop of recv(2) into it. Prints its port.
 *
 *   content get|put PORT PATH SIZE CONNECTIONS
 *	A client that is not the limit: it discards what it receives unread, and sends
 *	pages without copying them. Each connection has its own SIZE bytes of PATH. Prints the
 *	nanoseconds from the first request to the last answer.
 *
 *   content repeat PORT FILE
 *	Sends the request that is whole in FILE, once for each line of its input, on one
 *	connection. Prints the nanoseconds until its answer is there, which it discards unread.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS 64u
#define PIECE (256ul << 10)
#define HEAD_SIZE 4096u
#define SOURCE_SIZE (16ul << 20)

static char *bytes;
static int listener;

static const char *path;
static unsigned long size;
static unsigned short port;
static int source = -1;         /* put: where the bytes are */

static _Noreturn void die(const char *what)
{
	perror(what);
	exit(1);
}

/*
 * Read up to the end of a header, and what comes with it. Return: how many bytes, 0 at the end
 * of the connection; *body is where the body begins.
 */
static size_t read_head(int connection, char *head, size_t *body)
{
	size_t have = 0;

	for (;;) {
		ssize_t got = recv(connection, head + have, HEAD_SIZE - 1 - have, 0);
		char *end;

		if (got <= 0)
			return 0;
		have += (size_t)got;
		head[have] = '\0';
		end = strstr(head, "\r\n\r\n");
		if (end) {
			*body = (size_t)(end + 4 - head);
			return have;
		}
	}
}

static const char *field(const char *head, const char *name)
{
	const char *line = head;

	while ((line = strstr(line, "\r\n"))) {
		line += 2;
		if (!strncasecmp(line, name, strlen(name)))
			return line + strlen(name);
	}
	return NULL;
}

static void send_all(int connection, const char *from, size_t left)
{
	while (left) {
		ssize_t sent = send(connection, from, left < PIECE ? left : PIECE, MSG_NOSIGNAL);

		if (sent < 0)
			die("send");
		from += sent;
		left -= (size_t)sent;
	}
}

static void serve_get(int connection, const char *head)
{
	const char *range = field(head, "range: bytes=");
	unsigned long first = 0, last = 0;
	char answer[200];
	int length;

	if (!range || sscanf(range, "%lu-%lu", &first, &last) != 2)
		die("range");
	length = snprintf(answer, sizeof(answer),
			  "HTTP/1.1 206 Partial Content\r\ncontent-length: %lu\r\n\r\n",
			  last - first + 1);
	send_all(connection, answer, (size_t)length);
	send_all(connection, bytes + first, last - first + 1);
}

static void serve_put(int connection, const char *head, const char *held, size_t held_size)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
	const char *length = field(head, "content-length: ");
	const char *offset = strstr(head, "offset=");
	char *to = bytes + (offset ? strtoul(offset + 7, NULL, 10) : 0);
	size_t left = length ? strtoul(length, NULL, 10) : 0;

	memcpy(to, held, held_size);
	to += held_size;
	left -= held_size;
	while (left) {
		ssize_t got = recv(connection, to, left < PIECE ? left : PIECE, 0);

		if (got <= 0)
			die("recv");
		to += got;
		left -= (size_t)got;
	}
	send_all(connection, answer, sizeof(answer) - 1);
}

static void *serve(void *argument)
{
	(void)argument;
	for (;;) {
		int connection = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		char head[HEAD_SIZE];
		size_t have, body = 0;

		if (connection < 0)
			die("accept");
		while ((have = read_head(connection, head, &body))) {
			if (head[0] == 'G')
				serve_get(connection, head);
			else
				serve_put(connection, head, head + body, have - body);
		}
		close(connection);
	}
	return NULL;
}

static int run_server(const char *name)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t length = sizeof(address);
	int file = open(name, O_RDWR | O_CLOEXEC);
	struct stat stat;
	pthread_t thread;

	if (file < 0 || fstat(file, &stat))
		die(name);
	bytes = mmap(NULL, (size_t)stat.st_size, PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_POPULATE, file, 0);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bytes == MAP_FAILED || listener < 0 ||
	    bind(listener, (struct sockaddr *)&address, length) ||
	    listen(listener, MAX_CONNECTIONS) ||
	    getsockname(listener, (struct sockaddr *)&address, &length))
		die("listen");
	printf("%u\n", ntohs(address.sin_port));
	fflush(stdout);
	for (unsigned int n = 1; n < MAX_CONNECTIONS; n++) {
		if (pthread_create(&thread, NULL, serve, NULL))
			die("pthread_create");
	}
	serve(NULL);
	return 0;
}

/* What is left of an answer, discarded in the kernel */
static void discard(int connection, size_t left)
{
	while (left) {
		ssize_t got = recv(connection, NULL, left, MSG_TRUNC);

		if (got <= 0)
			die("an answer was cut short");
		left -= (size_t)got;
	}
}

static void receive_answer(int connection, unsigned long expected)
{
	char head[HEAD_SIZE];
	size_t body = 0;
	size_t have = read_head(connection, head, &body);
	const char *length = have ? field(head, "content-length: ") : NULL;
	unsigned long whole = length ? strtoul(length, NULL, 10) : 0;

	if (!have || strncmp(head, "HTTP/1.1 20", 11) || !length ||
	    (expected && whole != expected)) {
		fprintf(stderr, "%s\n", have ? head : "no answer");
		exit(1);
	}
	discard(connection, whole - (have - body));
}

static int connect_to_server(void)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connection < 0 ||
	    connect(connection, (struct sockaddr *)&address, sizeof(address)))
		die("connect");
	return connection;
}

static void *ask(void *argument)
{
	unsigned long first = (uintptr_t)argument * size;
	int connection = connect_to_server();
	char head[500];
	int length;

	if (source < 0) {
		length = snprintf(head, sizeof(head),
				  "GET %s HTTP/1.1\r\nhost: localhost\r\n"
				  "range: bytes=%lu-%lu\r\n\r\n",
				  path, first, first + size - 1);
		send_all(connection, head, (size_t)length);
		receive_answer(connection, size);
	} else {
		size_t left = size;
		off_t at = 0;

		length = snprintf(head, sizeof(head),
				  "PUT %s?offset=%lu HTTP/1.1\r\nhost: localhost\r\n"
				  "content-type: application/octet-stream\r\n"
				  "content-length: %lu\r\n\r\n", path, first, size);
		send_all(connection, head, (size_t)length);
		while (left) {
			size_t part = SOURCE_SIZE - (size_t)at;
			ssize_t sent = sendfile(connection, source, &at,
						part < left ? part : left);

			if (sent <= 0)
				die("sendfile");
			left -= (size_t)sent;
			at %= (off_t)SOURCE_SIZE;
		}
		receive_answer(connection, 0);
	}
	close(connection);
	return NULL;
}

static unsigned long now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (unsigned long)time.tv_sec * 1000000000u + (unsigned long)time.tv_nsec;
}

static int run_client(bool puts_it, unsigned int connections)
{
	pthread_t threads[MAX_CONNECTIONS];
	unsigned long began;

	if (puts_it) {
		source = memfd_create("content", MFD_CLOEXEC);
		if (source < 0 || posix_fallocate(source, 0, (off_t)SOURCE_SIZE))
			die("memfd_create");
	}
	began = now();
	for (unsigned int n = 0; n < connections; n++) {
		if (pthread_create(&threads[n], NULL, ask, (void *)(uintptr_t)n))
			die("pthread_create");
	}
	for (unsigned int n = 0; n < connections; n++)
		pthread_join(threads[n], NULL);
	printf("%lu\n", now() - began);
	return 0;
}

static int run_repeater(const char *name)
{
	int file = open(name, O_RDONLY | O_CLOEXEC);
	struct stat stat;
	const char *request;
	char line[100];
	int connection;

	if (file < 0 || fstat(file, &stat))
		die(name);
	request = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE,
		       file, 0);
	if (request == MAP_FAILED)
		die("mmap");
	connection = connect_to_server();
	while (fgets(line, sizeof(line), stdin)) {
		unsigned long began = now();

		send_all(connection, request, (size_t)stat.st_size);
		receive_answer(connection, 0);
		printf("%lu\n", now() - began);
		fflush(stdout);
	}
	return 0;
}

int main(int argc, char **argv)
{
	unsigned int connections;

	if (argc == 3 && !strcmp(argv[1], "serve"))
		return run_server(argv[2]);
	if (argc == 4 && !strcmp(argv[1], "repeat")) {
		port = (unsigned short)atoi(argv[2]);
		return run_repeater(argv[3]);
	}
	if (argc != 6)
		return 2;
	port = (unsigned short)atoi(argv[2]);
	path = argv[3];
	size = strtoul(argv[4], NULL, 10);
	connections = (unsigned int)atoi(argv[5]);
	if (!connections || connections > MAX_CONNECTIONS)
		return 2;
	return run_client(!strcmp(argv[1], "put"), connections);
}
