/*
 * What Rust's GNU target and gcc's unwinder expect of a C library and musl lacks. It exists because
 * the guest init is linked with musl's C library where Rust's own musl target is not installed:
 * glibc alone would make it larger than its limit. Nothing else belongs here.
 */

struct dl_find_object;

/* An old version, so that the standard library starts programs with fork and exec. */
const char *gnu_get_libc_version(void) { return "2.0"; }

/* "Not found": the unwinder then asks dl_iterate_phdr, which musl has. */
int _dl_find_object(void *address, struct dl_find_object *result) {
    (void)address;
    (void)result;
    return -1;
}

/*
 * glibc's names for calls with 64-bit offsets. All of musl's have them; from version 1.2.4 on it has
 * the plain names only. Weak, so that an older musl's own may stand beside them.
 */
#if defined(__x86_64__)
#define JUMP "jmp "
#elif defined(__aarch64__)
#define JUMP "b "
#else
#error "there is no jump for this processor yet"
#endif

#define SAME(name, plain) \
    __asm__(".section .text." #name ",\"ax\"\n.weak " #name "\n.type " #name ", @function\n" #name ": " JUMP #plain "\n")

SAME(creat64, creat);
SAME(fallocate64, fallocate);
SAME(fstat64, fstat);
SAME(fstatat64, fstatat);
SAME(fstatfs64, fstatfs);
SAME(fstatvfs64, fstatvfs);
SAME(ftruncate64, ftruncate);
SAME(getrlimit64, getrlimit);
SAME(lseek64, lseek);
SAME(lstat64, lstat);
SAME(mmap64, mmap);
SAME(open64, open);
SAME(openat64, openat);
SAME(posix_fadvise64, posix_fadvise);
SAME(pread64, pread);
SAME(preadv64, preadv);
SAME(prlimit64, prlimit);
SAME(pwrite64, pwrite);
SAME(pwritev64, pwritev);
SAME(readdir64, readdir);
SAME(readdir64_r, readdir_r);
SAME(sendfile64, sendfile);
SAME(setrlimit64, setrlimit);
SAME(stat64, stat);
SAME(statfs64, statfs);
SAME(statvfs64, statvfs);
SAME(truncate64, truncate);
