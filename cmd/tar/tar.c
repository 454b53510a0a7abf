/*
 * Stands in for tar while CRIU dumps and restores. For every tmpfs of a container,
 * most of which are empty, CRIU runs `tar --create --gzip` with the tasks frozen, and
 * `tar --extract --gzip` before they run again: two programs to load and link, where a
 * few hundred bytes are wanted (criu/filesystems.c, tmpfs_dump and tmpfs_restore). This
 * one writes and reads the archive of a directory that holds nothing but directories,
 * links and devices, and lets the real tar do all the rest. It is in C because a Go
 * program takes longer to start than all of this to run.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { BLOCK = 512, STORED = 65535 };

/* The header of GNU tar's format, all numbers in octal digits. */
struct header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type;
	char link[100], magic[8], uname[32], gname[32], major[8], minor[8], pad[167];
};
_Static_assert(sizeof(struct header) == BLOCK, "a header is a block");

static unsigned char *archive;
static size_t size, room;

/* grow returns n more bytes of the archive, zeroed, or NULL. */
static void *grow(size_t n)
{
	if (size + n > room) {
		size_t more = (size + n) * 2;
		unsigned char *p = realloc(archive, more);
		if (!p)
			return NULL;
		archive = p;
		room = more;
	}
	size += n;
	return memset(archive + size - n, 0, n);
}

/* octal fills a field but for its last byte; false if it is too small. */
static int octal(char *field, size_t width, uint64_t n)
{
	for (size_t i = width - 1; i-- > 0; n >>= 3)
		field[i] = '0' + (n & 7);
	return n == 0;
}

/* checksum is that of a header, whose own field counts as blanks. */
static unsigned checksum(const struct header *h)
{
	unsigned sum = 0;

	for (size_t i = 0; i < BLOCK; i++)
		sum += i - offsetof(struct header, sum) < sizeof(h->sum) ? ' ' : ((const unsigned char *)h)[i];
	return sum;
}

/* entry adds a header; false if that is for the real tar. */
static int entry(int dir, const char *file, const char *name, const struct stat *st)
{
	struct header *h = grow(BLOCK);

	if (!h || strlen(name) >= sizeof(h->name) || st->st_mtime < 0)
		return 0;
	strcpy(h->name, name);
	if (S_ISDIR(st->st_mode)) {
		h->type = '5';
	} else if (st->st_nlink > 1) { /* --check-links */
		return 0;
	} else if (S_ISLNK(st->st_mode)) {
		ssize_t n = readlinkat(dir, file, h->link, sizeof(h->link));
		if (n < 0 || n >= (ssize_t)sizeof(h->link))
			return 0;
		h->type = '2';
	} else if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode)) {
		h->type = S_ISCHR(st->st_mode) ? '3' : '4';
		if (!octal(h->major, sizeof(h->major), major(st->st_rdev)) ||
		    !octal(h->minor, sizeof(h->minor), minor(st->st_rdev)))
			return 0;
	} else {
		return 0;
	}
	if (!octal(h->mode, sizeof(h->mode), st->st_mode & 07777) || !octal(h->uid, sizeof(h->uid), st->st_uid) ||
	    !octal(h->gid, sizeof(h->gid), st->st_gid) || !octal(h->mtime, sizeof(h->mtime), st->st_mtime))
		return 0;
	octal(h->size, sizeof(h->size), 0);
	memcpy(h->magic, "ustar  ", sizeof(h->magic));
	octal(h->sum, sizeof(h->sum) - 1, checksum(h));
	h->sum[sizeof(h->sum) - 1] = ' ';
	return 1;
}

/* pack adds the directory and all below it; false if that is for the real tar. */
static int pack(int parent, const char *dir, const char *name, dev_t device)
{
	int fd = openat(parent, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (parent == AT_FDCWD ? 0 : O_NOFOLLOW));
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	struct stat st;
	int ok;

	if (!d)
		return 0;
	/* --one-file-system */
	ok = fstat(fd, &st) == 0 && (!device || st.st_dev == device) && entry(fd, NULL, name, &st);
	while (ok && (e = readdir(d))) {
		char path[PATH_MAX];
		struct stat below;
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (fstatat(fd, e->d_name, &below, AT_SYMLINK_NOFOLLOW) ||
		    snprintf(path, sizeof(path), "%s%s%s", name, e->d_name, S_ISDIR(below.st_mode) ? "/" : "") >= (int)sizeof(path))
			ok = 0;
		else if (S_ISDIR(below.st_mode))
			ok = pack(fd, e->d_name, path, st.st_dev);
		else
			ok = below.st_dev == st.st_dev && entry(fd, e->d_name, path, &below);
	}
	closedir(d);
	return ok;
}

/* crc32 is that of gzip, RFC 1952. */
static uint32_t crc32(const unsigned char *p, size_t n)
{
	uint32_t table[16], crc = ~0u;

	for (uint32_t i = 0; i < 16; i++) {
		uint32_t c = i;
		for (int bit = 0; bit < 4; bit++)
			c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
		table[i] = c;
	}
	for (; n; n--) {
		crc ^= *p++;
		crc = table[crc & 15] ^ crc >> 4;
		crc = table[crc & 15] ^ crc >> 4;
	}
	return ~crc;
}

static void little(unsigned char *to, int bytes, uint32_t n)
{
	for (; bytes; bytes--, n >>= 8)
		*to++ = n & 0xff;
}

/* emit writes the archive, stored in the format of gzip. */
static int emit(FILE *out)
{
	static const unsigned char head[10] = { 0x1f, 0x8b, 8, [9] = 255 };
	unsigned char tail[8];

	fwrite(head, sizeof(head), 1, out);
	for (size_t at = 0; at < size; at += STORED) {
		size_t n = size - at < STORED ? size - at : STORED;
		unsigned char block[5] = { at + n == size };
		little(block + 1, 2, n);
		little(block + 3, 2, ~n);
		fwrite(block, sizeof(block), 1, out);
		fwrite(archive + at, n, 1, out);
	}
	little(tail, 4, crc32(archive, size));
	little(tail + 4, 4, size);
	fwrite(tail, sizeof(tail), 1, out);
	return fflush(out) == 0 && !ferror(out);
}

/* from_little reads what little writes. */
static uint32_t from_little(const unsigned char *p, int bytes)
{
	uint32_t n = 0;

	while (bytes--)
		n = n << 8 | p[bytes];
	return n;
}

/* load reads what emit writes into the archive; false if that is for the real tar. */
static int load(int in)
{
	enum { HEAD = 10, TAIL = 8, BLOCK_HEAD = 5, MOST = 1 << 20 };
	struct stat st;
	unsigned char *file, *p, *end;
	int last = 0;

	if (fstat(in, &st) || st.st_size < HEAD + TAIL || st.st_size > MOST || !(file = malloc(st.st_size)) ||
	    pread(in, file, st.st_size, 0) != st.st_size)
		return 0;
	p = file + HEAD;
	end = file + st.st_size - TAIL;
	if (memcmp(file, "\x1f\x8b\x08", 4)) /* no flags */
		return 0;
	while (!last) {
		size_t n;
		void *to;
		if (end - p < BLOCK_HEAD || p[0] > 1) /* stored, and the last or not */
			return 0;
		last = p[0];
		n = from_little(p + 1, 2);
		p += BLOCK_HEAD;
		if ((size_t)(end - p) < n || from_little(p - 2, 2) != (~n & 0xffff) || !(to = grow(n)))
			return 0;
		memcpy(to, p, n);
		p += n;
	}
	return p == end && from_little(end, 4) == crc32(archive, size) && from_little(end + 4, 4) == size && size % BLOCK == 0;
}

/* number reads octal digits that fill a field but for its last byte. */
static int number(const char *field, size_t width, uint64_t *n)
{
	*n = 0;
	for (size_t i = 0; i < width - 1; i++) {
		if (field[i] < '0' || field[i] > '7')
			return 0;
		*n = *n << 3 | (field[i] - '0');
	}
	return field[width - 1] == 0;
}

/* simple says whether unpack can do all that a header asks for. */
static int simple(const struct header *h)
{
	static const char empty[sizeof(h->pad)];
	uint64_t n, sum;

	return number(h->sum, sizeof(h->sum) - 1, &sum) && sum == checksum(h) && memcmp(h->magic, "ustar", 5) == 0 && h->type >= '2' && h->type <= '5' &&
	       strncmp(h->name, "./", 2) == 0 && memchr(h->name, 0, sizeof(h->name)) && memchr(h->link, 0, sizeof(h->link)) &&
	       !h->uname[0] && !h->gname[0] && memcmp(h->pad, empty, sizeof(empty)) == 0 &&
	       number(h->size, sizeof(h->size), &n) && n == 0 && number(h->mode, sizeof(h->mode), &n) && n <= 07777 &&
	       number(h->uid, sizeof(h->uid), &n) && number(h->gid, sizeof(h->gid), &n) && number(h->mtime, sizeof(h->mtime), &n);
}

/*
 * place opens the directory that a name below root is in, and returns the name in
 * there, "." for root; NULL if it leads over a link or out of root.
 */
static char *place(int root, char *name, int *dir)
{
	char *end = name + strlen(name), *next;

	*dir = dup(root);
	for (name += 2; end > name && end[-1] == '/';)
		*--end = 0;
	for (; *dir >= 0 && (next = strchr(name, '/')); name = next + 1) {
		int up = *dir;
		*next = 0;
		*dir = strcmp(name, "..") ? openat(up, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
		close(up);
	}
	return *dir < 0 || !strcmp(name, "..") ? NULL : *name ? name : ".";
}

/* dress gives a file in a directory the owner, mode and time of its header. */
static int dress(int dir, const char *name, const struct header *h)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_NOW } };
	uint64_t uid, gid, mode, mtime;

	number(h->uid, sizeof(h->uid), &uid);
	number(h->gid, sizeof(h->gid), &gid);
	number(h->mode, sizeof(h->mode), &mode);
	number(h->mtime, sizeof(h->mtime), &mtime);
	times[1].tv_sec = mtime;
	return fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW) == 0 && (h->type == '2' || fchmodat(dir, name, mode, 0) == 0) &&
	       utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW) == 0;
}

/* make makes what a header says. A directory may be there; it is dressed later. */
static int make(int dir, const char *name, const struct header *h)
{
	uint64_t high = 0, low = 0;

	switch (h->type) {
	case '5':
		return mkdirat(dir, name, 0700) == 0 || errno == EEXIST;
	case '2':
		return symlinkat(h->link, dir, name) == 0 && dress(dir, name, h);
	}
	return number(h->major, sizeof(h->major), &high) && number(h->minor, sizeof(h->minor), &low) &&
	       mknodat(dir, name, h->type == '3' ? S_IFCHR : S_IFBLK, makedev(high, low)) == 0 && dress(dir, name, h);
}

/*
 * unpack makes all that is in the archive; false if that is for the real tar, which does
 * not mind what is there already. The directories get their times last.
 */
static int unpack(const char *path)
{
	int root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), n = 0, ok;
	struct header *h = (struct header *)archive;

	while ((n + 1) * (size_t)BLOCK <= size && h[n].name[0])
		if (!simple(&h[n++]))
			return 0;
	ok = root >= 0;
	for (int i = 0; ok && i < 2 * n; i++) {
		struct header e = h[i < n ? i : 2 * n - 1 - i];
		int dir, fd;
		char *name = place(root, e.name, &dir);
		if (i < n) {
			ok = name && make(dir, name, &e);
		} else if (e.type == '5') {
			fd = name ? openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
			ok = fd >= 0 && dress(fd, ".", &e);
			close(fd);
		}
		close(dir);
	}
	return ok;
}

/*
 * asked returns the directory if the arguments are those of CRIU 3.17 to 4.2, and else
 * NULL: tar --create --gzip OPTION... --directory DIR . or tar --extract with neither
 * the dot nor all of the options.
 */
static const char *asked(int n, char **args, int *create)
{
	static const char *const known[] = { "--no-unquote", "--no-wildcards", "--one-file-system", "--check-links",
					     "--preserve-permissions", "--sparse", "--numeric-owner" };

	if (n < 5)
		return NULL;
	*create = strcmp(args[1], "--create") == 0;
	if ((!*create && strcmp(args[1], "--extract")) || (*create && strcmp(args[--n], ".")) || strcmp(args[2], "--gzip") ||
	    strcmp(args[n - 2], "--directory"))
		return NULL;
	for (int i = 3; i < n - 2; i++) {
		size_t k = 0, count = *create ? sizeof(known) / sizeof(*known) : 2;
		while (k < count && strcmp(args[i], known[k]))
			k++;
		if (k == count)
			return NULL;
	}
	return args[n - 1];
}

/* become_real becomes the next tar on the PATH, and returns if there is none. */
static void become_real(char **args)
{
	const char *path = getenv("PATH");
	struct stat self, st;

	if (!path || stat("/proc/self/exe", &self))
		return;
	for (size_t n; *path; path += n + (path[n] == ':')) {
		char file[PATH_MAX];
		n = strcspn(path, ":");
		if (snprintf(file, sizeof(file), "%.*s/tar", (int)n, path) < (int)sizeof(file) && !stat(file, &st) &&
		    (st.st_dev != self.st_dev || st.st_ino != self.st_ino))
			execv(file, args);
	}
}

int main(int n, char **args)
{
	int create;
	const char *dir = asked(n, args, &create);

	if (!dir || !(create ? pack(AT_FDCWD, dir, "./", 0) && grow(2 * BLOCK) : load(STDIN_FILENO) && unpack(dir))) {
		become_real(args);
		fputs("tar: there is no other tar on the PATH\n", stderr);
		return 2;
	}
	if (create && !emit(stdout)) {
		perror("tar");
		return 2;
	}
	return 0;
}
