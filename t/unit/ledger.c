/* SPDX-License-Identifier: Apache-2.0
 *
 * The ledger: layout, taking over what an earlier server left, identities,
 * reuse when full, rows, and what is left when its processes are killed.
 */
#include "tap.h"
#include "xl_ledger.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROWS 8u

static void *block(size_t size)
{
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (base == MAP_FAILED)
        exit(1);
    return base;
}

static xl_ledger_t fresh(uint32_t rows, uint32_t capacity)
{
    size_t size = xl_ledger_size(rows, capacity);
    xl_ledger_t ledger = { 0 };

    is_str(xl_ledger_init(&ledger, block(size), size, rows, "boot-1", 1000), NULL, "init takes a block of that size");
    return ledger;
}

static uint32_t attach(xl_ledger_t *ledger, const char *name, uint64_t generation, uint64_t oldest)
{
    return xl_ledger_attach(ledger, XL_ENTRY_QUOTA, "www.example.org:80", "", name, generation, oldest);
}

static bool all_alive(uint32_t pid)
{
    (void)pid;
    return true;
}

static bool exists(uint32_t pid)
{
    return !kill((pid_t)pid, 0) || errno == EPERM;
}

static void test_sizes(void)
{
    static const struct {
        uint32_t rows, capacity;
    } t[] = { { 1, 1 }, { 8, 64 }, { 17, 100 }, { 64, 64 }, { 512, 3000 }, { 40000, 2 } };
    size_t i;

    for (i = 0; i < sizeof(t) / sizeof(*t); i++) {
        size_t size = xl_ledger_size(t[i].rows, t[i].capacity);

        is_u64(size % 64, 0, "a size is whole cache lines");
        is_u64(xl_ledger_capacity(t[i].rows, size), t[i].capacity, "capacity is the inverse of size");
        is_u64(xl_ledger_capacity(t[i].rows, size - 1), t[i].capacity - 1, "a byte less holds an entry less");
    }
    is_u64(xl_ledger_capacity(64, 100), 0, "nothing fits into 100 bytes");
    ok(xl_ledger_size(UINT32_MAX, UINT32_MAX) == 0 || sizeof(size_t) > 8, "an overflow is no size");
}

static void test_round_trip(void)
{
    xl_ledger_t ledger = fresh(ROWS, 64), again;
    size_t offset, larger = xl_ledger_size(ROWS, 100);
    unsigned char *grown = block(larger);
    uint32_t index = attach(&ledger, "month", 7, 0);
    bool newer;

    is_u64(index, 0, "the first identity gets the first entry");
    atomic_fetch_add(&xl_ledger_entry(&ledger, index)->sent_bytes, 12345);
    is_str(xl_ledger_open(&again, ledger.base, ledger.size, &offset, &newer), NULL, "open takes it");
    ok(again.rows == ROWS && again.capacity == 64 && again.entry_bytes == ledger.entry_bytes, "with the same sizes");
    is_u64(atomic_load(&xl_ledger_entry(&again, 0)->sent_bytes), 12345, "and the same count");
    is_str(xl_ledger_entry(&again, 0)->name, "month", "and name");
    is_u64(xl_ledger_newest(&again), 7, "the newest generation is known");
    ok(!xl_ledger_entry(&again, 64) && !xl_ledger_entry(&again, UINT32_MAX), "no entry out of range");

    memcpy(grown, ledger.base, ledger.size);
    is_str(xl_ledger_open(&again, grown, larger, &offset, &newer), NULL, "a grown file opens");
    is_u64(again.capacity, 100, "with room for more");
    is_u64(attach(&again, "month", 8, 0), 0, "what was there is found again");
    is_u64(attach(&again, "day", 8, 0), 1, "what is new is appended");
    ((xl_ledger_head_t *)grown)->used = 0;
    is_str(xl_ledger_open(&again, grown, larger, &offset, &newer), NULL, "a wrong count of entries is repaired");
    is_u64(attach(&again, "day", 8, 0), 1, "so that none is lost");
    memcpy(grown, ledger.base, ledger.size);
    xl_ledger_extend(&ledger, grown, larger);
    is_u64(ledger.capacity, 100, "a ledger moves into a larger block");
    is_u64(attach(&ledger, "month", 8, 0), 0, "with its entries");
    ok(xl_ledger_open(&again, grown, xl_ledger_size(ROWS, 1) - 1, &offset, &newer) && !newer, "a cut file is refused");
    is_u64(offset, xl_ledger_size(ROWS, 1) - 1, "where it ends");
}

/* The CRC or a check of its own sees each flipped bit, and none of them makes
 * a file look like one of a newer version. */
static void test_flips(void)
{
    xl_ledger_t ledger = fresh(ROWS, 2), again;
    unsigned missed = 0, mistaken = 0, bit;
    size_t offset;
    bool newer;

    attach(&ledger, "month", 1, 0);
    for (bit = 0; bit < XL_LEDGER_FIXED_BYTES * 8; bit++) {
        ledger.base[bit / 8] ^= (unsigned char)(1 << bit % 8);
        missed += !xl_ledger_open(&again, ledger.base, ledger.size, &offset, &newer);
        mistaken += newer;
        ledger.base[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    is_u64(bit, 512, "every bit of the fixed part was flipped");
    is_u64(missed, 0, "each flip is caught");
    is_u64(mistaken, 0, "none is taken for a newer version");
    is_str(xl_ledger_open(&again, ledger.base, ledger.size, &offset, &newer), NULL, "unflipped it opens");
}

static void test_versions(void)
{
    static const struct {
        uint32_t version;
        bool newer;
    } t[] = { { 0, false }, { XL_LEDGER_VERSION + 1, true }, { UINT32_MAX, true } };
    xl_ledger_t ledger = fresh(ROWS, 2), again;
    xl_ledger_head_t *head = (xl_ledger_head_t *)ledger.base;
    size_t i, offset;
    bool newer;

    for (i = 0; i < sizeof(t) / sizeof(*t); i++) {
        head->version = t[i].version;
        head->crc = xl_ledger_checksum(head);
        ok(xl_ledger_open(&again, ledger.base, ledger.size, &offset, &newer) != NULL, "version %u is refused",
           t[i].version);
        ok(newer == t[i].newer, "and is %snewer", t[i].newer ? "" : "not ");
        is_u64(offset, 8, "the offset is that of the version");
    }
    head->version = XL_LEDGER_VERSION;
    head->verdicts++;
    head->crc = xl_ledger_checksum(head);
    ok(xl_ledger_open(&again, ledger.base, ledger.size, &offset, &newer) && !newer, "another layout is refused");
    head->verdicts--;
    head->rows += 16;
    head->crc = xl_ledger_checksum(head);
    ok(xl_ledger_open(&again, ledger.base, ledger.size, &offset, &newer) && !newer, "so are sizes that contradict");
}

static void test_checksum(void)
{
    xl_ledger_head_t head;

    memset(&head, 0, sizeof(head));
    is_u64(xl_ledger_checksum(&head), 0x04128908, "CRC-32 of sixty zero bytes, as zlib has it");
    memcpy(&head, "123456789012345678901234567890123456789012345678901234567890", 60);
    is_u64(xl_ledger_checksum(&head), 0x9851D170, "CRC-32 of sixty digits, as zlib has it");
}

static void test_bad_entries(void)
{
    xl_ledger_t ledger = fresh(ROWS, 4), again;
    xl_entry_t *entry;
    size_t offset, at;
    bool newer;

    xl_ledger_attach(&ledger, XL_ENTRY_UPLOAD, "www.example.org:80", "", "a", 1, 0);
    entry = xl_ledger_entry(&ledger, attach(&ledger, "b", 1, 0));
    at = (size_t)((unsigned char *)entry - ledger.base);

    memset(entry->place, 'x', XL_LABEL_MAX);
    ok(xl_ledger_open(&again, ledger.base, ledger.size, &offset, &newer) != NULL, "a label without an end is refused");
    is_u64(offset, at + offsetof(xl_entry_t, place), "at its offset");
    memset(entry->place, 0, XL_LABEL_MAX);
    atomic_store(&entry->kind, XL_ENTRY_KINDS);
    ok(xl_ledger_open(&again, ledger.base, ledger.size, &offset, &newer) != NULL, "an unknown kind is refused");
    is_u64(offset, at, "at its offset");
    atomic_store(&entry->kind, XL_ENTRY_QUOTA);
    entry->name[0] ^= 1;
    ok(xl_ledger_open(&again, ledger.base, ledger.size, &offset, &newer) != NULL, "a name that was changed is refused");
    entry->name[0] ^= 1;
    is_str(xl_ledger_open(&again, ledger.base, ledger.size, &offset, &newer), NULL, "repaired it opens");
}

static void test_identity(void)
{
    static const char *const t[][3] = { { "ab", "c", "d" }, { "a", "bc", "d" }, { "ab", "", "cd" }, { "", "", "" },
                                        { "ab", "c", "D" } };
    uint64_t ids[16][2];
    size_t n = sizeof(t) / sizeof(*t), i, j;
    unsigned same = 0;

    for (i = 0; i < n; i++) {
        xl_ledger_id(XL_ENTRY_QUOTA, t[i][0], t[i][1], t[i][2], ids[i]);
        xl_ledger_id(XL_ENTRY_BANDWIDTH, t[i][0], t[i][1], t[i][2], ids[n + i]);
    }
    for (i = 0; i < 2 * n; i++)
        for (j = 0; j < i; j++)
            same += !memcmp(ids[i], ids[j], sizeof(ids[i]));
    is_u64(same, 0, "kind and each of the three parts tell identities apart");
}

static void test_long_labels(void)
{
    xl_ledger_t ledger = fresh(ROWS, 4), again;
    char a[400], b[400];
    size_t offset;
    bool newer;
    uint32_t first, second;

    memset(a, 'n', 126);
    memcpy(a + 126, "\xE2\x82\xAC and more", 13);
    strcpy(b, a);
    strcat(b, "!");
    first = attach(&ledger, a, 1, 0);
    second = attach(&ledger, b, 1, 0);
    ok(first != second, "names that differ after the cut have two entries");
    is_u64(strlen(xl_ledger_entry(&ledger, first)->name), 126, "a label is cut between characters");
    is_str(xl_ledger_open(&again, ledger.base, ledger.size, &offset, &newer), NULL, "cut labels open again");
    is_u64(attach(&again, b, 2, 0), second, "and are found by their whole name");
}

static void test_reuse(void)
{
    xl_ledger_t ledger = fresh(ROWS, 3);
    uint64_t id[2];
    uint32_t b;

    attach(&ledger, "a", 5, 1);
    b = attach(&ledger, "b", 3, 1);
    attach(&ledger, "c", 4, 1);
    atomic_fetch_add(&xl_ledger_entry(&ledger, b)->requests, 9);
    atomic_fetch_add(&xl_ledger_entry(&ledger, b)->active[2], 9);
    is_u64(attach(&ledger, "d", 6, 3), XL_NO_ENTRY, "full: generation 3 may still count into the oldest");
    is_u64(attach(&ledger, "d", 6, 5), b, "the one that was named the longest ago is reused");
    is_u64(atomic_load(&xl_ledger_entry(&ledger, b)->requests), 0, "with nothing counted");
    is_u64(xl_entry_active(&ledger, xl_ledger_entry(&ledger, b)), 0, "and nothing active");
    xl_ledger_id(XL_ENTRY_QUOTA, "www.example.org:80", "", "b", id);
    is_u64(xl_ledger_find(&ledger, id), XL_NO_ENTRY, "what it was before is gone");
    xl_ledger_id(XL_ENTRY_QUOTA, "www.example.org:80", "", "d", id);
    is_u64(xl_ledger_find(&ledger, id), b, "what it is now is found");
    is_u64(attach(&ledger, "a", 2, 1), 0, "an older generation finds its entry");
    is_u64(atomic_load(&xl_ledger_entry(&ledger, 0)->generation), 5, "and does not make it older");
    atomic_store(&xl_ledger_entry(&ledger, 2)->kind, XL_ENTRY_FREE);
    is_u64(attach(&ledger, "e", 7, 0), 2, "a free entry in the middle is used");
}

static void test_copy(void)
{
    xl_ledger_t from = fresh(ROWS, 4), to = fresh(4 * ROWS, 8), small = fresh(ROWS, 1);
    size_t offset;
    bool newer;

    attach(&from, "a", 5, 1);
    attach(&from, "b", 6, 1);
    atomic_store(&xl_ledger_entry(&from, 0)->kind, XL_ENTRY_FREE);
    attach(&from, "c", 6, 1);
    atomic_store(&xl_ledger_entry(&from, 1)->sent_bytes, 77);
    atomic_store(&xl_ledger_entry(&from, 1)->active[3], 4);
    is_str(xl_ledger_copy(&to, &from), NULL, "a ledger with more rows takes all entries");
    is_u64(attach(&to, "b", 6, 1), 0, "the first one in use comes first");
    is_u64(attach(&to, "c", 6, 1), 1, "then the second");
    is_u64(atomic_load(&xl_ledger_entry(&to, 0)->sent_bytes), 77, "with its counters");
    is_u64(xl_entry_active(&to, xl_ledger_entry(&to, 0)), 0, "but nothing active");
    is_str(xl_ledger_open(&to, to.base, to.size, &offset, &newer), NULL, "the copy opens");
    ok(xl_ledger_copy(&small, &from) != NULL, "too small a copy says so");
}

static void test_rebase(void)
{
    static const struct {
        const char *boot, *what;
        uint64_t tat, rows;
    } t[] = { { "boot-1", "the same boot leaves all as it is", 99, 1 },
              { "boot-2", "another boot puts meters at rest and frees rows", 0, 0 },
              { "", "an unknown boot does too", 0, 0 } };
    size_t i;

    for (i = 0; i < sizeof(t) / sizeof(*t); i++) {
        xl_ledger_t ledger = fresh(ROWS, 2);
        xl_entry_t *entry = xl_ledger_entry(&ledger, attach(&ledger, "a", 1, 0));
        uint32_t row = xl_ledger_row_claim(&ledger, 4711, 1);

        atomic_store(&entry->meter.tat_ns, 99);
        xl_entry_enter(&ledger, entry, row);
        xl_ledger_rebase(&ledger, t[i].boot);
        is_u64(atomic_load(&entry->meter.tat_ns), t[i].tat, t[i].what);
        is_u64(xl_entry_active(&ledger, entry), t[i].rows, "active requests likewise");
        ok((xl_ledger_oldest(&ledger) == UINT64_MAX) == !t[i].rows, "rows likewise");
        is_str(((xl_ledger_head_t *)ledger.base)->boot_id, t[i].boot, "the boot is noted");
    }
}

static void test_rows(void)
{
    xl_ledger_t ledger = fresh(2, 2);
    xl_entry_t *entry = xl_ledger_entry(&ledger, attach(&ledger, "a", 1, 0));
    uint32_t first = xl_ledger_row_claim(&ledger, 100, 3), second = xl_ledger_row_claim(&ledger, 200, 4);

    ok(first != second && first < 2 && second < 2, "two processes, two rows");
    is_u64(xl_ledger_row_claim(&ledger, 300, 4), XL_NO_ROW, "the third finds none");
    is_u64(xl_ledger_oldest(&ledger), 3, "the oldest generation that is served");
    xl_entry_enter(&ledger, entry, first);
    is_u64(xl_entry_active(&ledger, entry), 1, "one enters");
    xl_entry_enter(&ledger, entry, second);
    is_u64(xl_entry_active(&ledger, entry), 2, "two entered");
    xl_entry_enter(&ledger, entry, XL_NO_ROW);
    is_u64(xl_entry_active(&ledger, entry), 2, "without a row nothing is counted");
    is_u64(xl_ledger_row_claim(&ledger, 100, 5), first, "the same number again has the same row");
    is_u64(xl_entry_active(&ledger, entry), 1, "cleared of its predecessor");
    xl_entry_leave(&ledger, entry, first);
    is_u64(xl_entry_active(&ledger, entry), 0, "a column below 0 counts against the sum");
    xl_entry_leave(&ledger, entry, second);
    is_u64(xl_entry_active(&ledger, entry), 0, "which never reads below 0");
    xl_ledger_row_release(&ledger, 100, NULL);
    xl_ledger_row_release(&ledger, 999, NULL);
    xl_ledger_row_release(&ledger, 0, NULL);
    is_u64((uint64_t)atomic_load(&entry->active[first]), 0, "releasing repairs the column");
    is_u64(xl_ledger_row_claim(&ledger, 300, 4), first, "and frees the row");
    is_u64(xl_ledger_sweep(&ledger, all_alive, NULL), 0, "sweep leaves who lives");
}

static uint32_t asked_row, asked;
static bool settled;

static bool ask(uint32_t row)
{
    asked_row = row;
    asked++;
    return settled;
}

static bool nobody(uint32_t pid)
{
    (void)pid;
    return false;
}

/* Rows of the dead that are not settled elsewhere yet. */
static void test_unsettled(void)
{
    xl_ledger_t ledger = fresh(2, 2);
    xl_entry_t *entry = xl_ledger_entry(&ledger, attach(&ledger, "a", 1, 0));
    uint32_t first = xl_ledger_row_claim(&ledger, 100, 3);

    xl_ledger_row_claim(&ledger, 200, 4);
    xl_entry_enter(&ledger, entry, first);
    settled = false;
    xl_ledger_row_release(&ledger, 100, ask);
    ok(asked == 1 && asked_row == first, "who owns a row elsewhere is asked before it is released");
    is_u64(xl_entry_active(&ledger, entry), 0, "what it was counted for goes at once");
    is_u64(xl_ledger_row_claim(&ledger, 300, 5), XL_NO_ROW, "but the row stays claimed");
    is_u64(xl_ledger_sweep(&ledger, all_alive, ask), 0, "a sweep asks nobody of the living");
    is_u64(xl_ledger_sweep(&ledger, nobody, ask), 0, "and releases none that is not settled");
    is_u64(asked, 3, "asking for each");
    settled = true;
    is_u64(xl_ledger_sweep(&ledger, nobody, ask), 2, "the next one does");
    is_u64(xl_ledger_row_claim(&ledger, 300, 5), first, "and the row is free");
}

enum { THREADS = 4, ROUNDS = 20000 };

typedef struct {
    xl_ledger_t *ledger;
    xl_entry_t *entry;
    uint32_t row;
} crowd_t;

static void *come_and_go(void *data)
{
    crowd_t *crowd = data;
    int i;

    for (i = 0; i < ROUNDS; i++) {
        xl_entry_enter(crowd->ledger, crowd->entry, crowd->row);
        atomic_fetch_add(&crowd->entry->requests, 1);
        xl_entry_leave(crowd->ledger, crowd->entry, crowd->row);
    }
    xl_entry_enter(crowd->ledger, crowd->entry, crowd->row);
    return NULL;
}

static void test_threads(void)
{
    xl_ledger_t ledger = fresh(ROWS, 2);
    crowd_t crowd = { &ledger, xl_ledger_entry(&ledger, attach(&ledger, "a", 1, 0)),
                      xl_ledger_row_claim(&ledger, 100, 1) };
    pthread_t threads[THREADS];
    int i;

    for (i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, come_and_go, &crowd))
            exit(1);
    for (i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    is_u64(xl_entry_active(&ledger, crowd.entry), THREADS, "each thread entered once more than it left");
    is_u64(atomic_load(&crowd.entry->requests), THREADS * ROUNDS, "and every request was counted");
}

enum { CHILDREN = 6, KILLS = 60, CHUNK = 1000 };

/* What the children of the kill test share besides the ledger: what each has
 * counted for certain, and whether they shall leave. */
typedef struct {
    _Atomic uint64_t counted[CHILDREN];
    _Atomic uint32_t row[CHILDREN];
    _Atomic bool stop;
} journal_t;

static void count_until_stopped(xl_ledger_t *ledger, journal_t *journal, int me)
{
    xl_entry_t *entry = xl_ledger_entry(ledger, 0);
    uint32_t row;

    while ((row = atomic_load(&journal->row[me])) == XL_NO_ROW)
        usleep(100);
    while (!atomic_load(&journal->stop)) {
        xl_entry_enter(ledger, entry, row);
        atomic_fetch_add(&entry->sent_bytes, CHUNK);
        atomic_fetch_add(&journal->counted[me], CHUNK);
        xl_entry_leave(ledger, entry, row);
    }
    _exit(0);
}

static pid_t start_child(xl_ledger_t *ledger, journal_t *journal, int me)
{
    pid_t pid;

    atomic_store(&journal->row[me], XL_NO_ROW);
    pid = fork();
    if (!pid)
        count_until_stopped(ledger, journal, me);
    atomic_store(&journal->row[me], xl_ledger_row_claim(ledger, (uint32_t)pid, 1));
    return pid;
}

static void test_kills(void)
{
    xl_ledger_t ledger = fresh(ROWS, 2);
    xl_entry_t *entry = xl_ledger_entry(&ledger, attach(&ledger, "a", 1, 0));
    journal_t *journal = block(sizeof(*journal));
    uint64_t counted = 0, sent, swept = 0, too_many = 0;
    pid_t pids[CHILDREN];
    int i;

    fflush(stdout);
    srand(7);
    for (i = 0; i < CHILDREN; i++)
        pids[i] = start_child(&ledger, journal, i);
    for (i = 0; i < KILLS; i++) {
        int victim = rand() % CHILDREN;
        uint64_t until = atomic_load(&journal->counted[victim]) + CHUNK * (uint64_t)(1 + rand() % 500);

        while (atomic_load(&journal->counted[victim]) < until)
            usleep(50);
        kill(pids[victim], SIGKILL);
        waitpid(pids[victim], NULL, 0);
        swept += xl_ledger_sweep(&ledger, exists, NULL);
        too_many += xl_entry_active(&ledger, entry) > CHILDREN - 1;
        pids[victim] = start_child(&ledger, journal, victim);
    }
    atomic_store(&journal->stop, true);
    for (i = 0; i < CHILDREN; i++) {
        waitpid(pids[i], NULL, 0);
        counted += atomic_load(&journal->counted[i]);
    }
    sent = atomic_load(&entry->sent_bytes);
    is_u64(swept, KILLS, "each killed process was swept, and nobody else");
    is_u64(too_many, 0, "nobody who was killed stays active");
    is_u64(xl_entry_active(&ledger, entry), 0, "in the end nobody is active");
    ok(sent >= counted && sent - counted <= KILLS * CHUNK, "no counted byte is lost (%" PRIu64 " of %" PRIu64 ")", sent,
       counted);
    is_u64(xl_ledger_sweep(&ledger, exists, NULL), CHILDREN, "who left by himself is swept too");
}

int main(void)
{
    test_sizes();
    test_round_trip();
    test_checksum();
    test_flips();
    test_versions();
    test_bad_entries();
    test_identity();
    test_long_labels();
    test_reuse();
    test_copy();
    test_rebase();
    test_rows();
    test_unsettled();
    test_threads();
    test_kills();
    return done_testing();
}
