/*
 * Two functions of glibc that Rust's GNU target and gcc's unwinder expect and that musl lacks.
 * They exist because the guest init is linked with musl's C library where Rust's own musl target
 * is not installed: glibc alone would make it larger than its limit. Both answers send the
 * caller to the way that works with any C library. Nothing else belongs here.
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
