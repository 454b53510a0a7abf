/* PostgreSQL does not run as root, and where root has no CAP_SYS_RESOURCE only
 * processes of root can be checkpointed. With this it takes itself for user 1000. */
#include <sys/types.h>

uid_t getuid(void) { return 1000; }
uid_t geteuid(void) { return 1000; }
