/* SPDX-License-Identifier: Apache-2.0
 *
 * image: what a power loss leaves of the file of copies, at each byte of each
 * write, is a file with a whole copy: the new one or the one before. Each byte
 * flipped, heads that lie, copies of other versions; and what bringing a copy
 * back makes of a ledger.
 */
#include "tap.h"
#include "xl_crc.h"
#include "xl_image.h"
#include "xl_mark.h"

#include <stddef.h>
#include <stdlib.h>

#define FORM (&xl_image_counters)
#define COUNT(table) (sizeof(table) / sizeof(*(table)))

enum { ROWS = 4, CAPACITY = 6, FILE_MOST = 65536 };

/* A disk: what is on it, and how far the next write of so many bytes gets. */
typedef struct {
    _Alignas(64) unsigned char bytes[FILE_MOST];
    size_t size, room;
} disk_t;

static xl_ledger_t fresh(uint32_t capacity, const char *boot_id)
{
    size_t size = xl_ledger_size(ROWS, capacity);
    void *base = aligned_alloc(64, size);
    xl_ledger_t ledger;

    if (!base)
        exit(1);
    memset(base, 0, size);
    if (xl_ledger_init(&ledger, base, size, ROWS, boot_id, 1000))
        exit(1);
    return ledger;
}

static xl_entry_t *counter(xl_ledger_t *ledger, const char *name, uint64_t bytes)
{
    xl_entry_t *entry = xl_ledger_entry(
        ledger, xl_ledger_attach(ledger, XL_ENTRY_QUOTA, "www.example.org:80", "", name, 1, 0));

    if (!entry)
        exit(1);
    atomic_fetch_add(&entry->sent_bytes, bytes);
    atomic_fetch_add(&entry->requests, 1);
    return entry;
}

static uint64_t sent(const xl_ledger_t *ledger, const char *name)
{
    uint64_t id[2];
    const xl_entry_t *entry;

    xl_ledger_id(XL_ENTRY_QUOTA, "www.example.org:80", "", name, id);
    entry = xl_ledger_entry(ledger, xl_ledger_find(ledger, id));
    return entry ? atomic_load(&entry->sent_bytes) : UINT64_MAX;
}

static void make_disk(disk_t *disk)
{
    memset(disk, 0, sizeof(*disk));
    disk->room = xl_image_room(CAPACITY);
    disk->size = xl_image_file_bytes(disk->room);
    if (disk->size > sizeof(disk->bytes))
        exit(1);
}

static void heads_of(const disk_t *disk, xl_image_head_t head[2], bool good[2])
{
    bool newer;

    for (unsigned i = 0; i < 2; i++) {
        memcpy(&head[i], disk->bytes + i * XL_IMAGE_PAGE, sizeof(*head));
        good[i] = !xl_image_check_head(&head[i], FORM, disk->size, &newer);
    }
}

/* As a start reads it: the newest whole copy, or none. */
static bool load(const disk_t *disk, xl_image_head_t *found, const void **body)
{
    xl_image_head_t head[2];
    bool good[2];
    unsigned slot;

    heads_of(disk, head, good);
    while ((slot = xl_image_newest(head, good)) != XL_IMAGE_NO_SLOT) {
        *found = head[slot];
        *body = disk->bytes + head[slot].body_at;
        if (!xl_image_check_body(found, FORM, *body))
            return true;
        good[slot] = false;
    }
    return false;
}

/* As a flusher writes it; power fails after so many bytes. Bytes got written. */
static size_t store(disk_t *disk, const xl_ledger_t *ledger, unsigned unfinished, size_t power)
{
    static _Alignas(64) unsigned char body[FILE_MOST];
    size_t length = xl_image_body(ledger, body, sizeof(body)), first, second;
    xl_image_head_t head[2], next;
    uint64_t sequence;
    unsigned slot;
    bool good[2];

    heads_of(disk, head, good);
    slot = xl_image_next(head, good, unfinished, &sequence);
    xl_image_sign(&next, FORM, ledger, 4711, 1000, 1);
    xl_image_seal(&next, slot, disk->room, body, length, sequence);
    first = length < power ? length : power;
    memcpy(disk->bytes + next.body_at, body, first);
    power -= first;
    second = sizeof(next) < power ? sizeof(next) : power;
    memcpy(disk->bytes + slot * XL_IMAGE_PAGE, &next, second);
    return first + second;
}

static void test_sizes(void)
{
    for (uint32_t entries = 1; entries < 3000; entries += 97) {
        size_t room = xl_image_room(entries);

        is_u64(room % XL_IMAGE_PAGE, 0, "a body's room is whole pages");
        is_u64(xl_image_room_of(xl_image_file_bytes(room)), room, "the file's size tells it");
    }
    is_u64(xl_image_room_of(0), 0, "an empty file has none");
    is_u64(xl_image_room_of(XL_IMAGE_PAGE * 2 + 100), 0, "nor has one of heads alone");
    is_u64(xl_image_room_of(UINT64_MAX), XL_IMAGE_LENGTH_MOST, "an endless one has what a reader takes");
    is_u64(xl_image_room(UINT32_MAX), 0, "too many entries have none");
}

static void test_round_trip(void)
{
    disk_t disk;
    xl_ledger_t ledger = fresh(CAPACITY, "boot-1"), back = fresh(CAPACITY, "boot-1");
    xl_image_head_t head;
    xl_image_taken_t taken;
    const void *body;

    make_disk(&disk);
    ok(!load(&disk, &head, &body), "a blank file holds no copy");
    counter(&ledger, "a", 100);
    atomic_store(&counter(&ledger, "b", 50)->active[1], 7);
    for (int i = 1; i <= 5; i++) {
        counter(&ledger, "a", 1);
        store(&disk, &ledger, XL_IMAGE_NO_SLOT, SIZE_MAX);
        ok(load(&disk, &head, &body) && head.sequence == (uint64_t)i, "copy %d is the newest", i);
        is_u64(head.body_at, xl_image_file_bytes(0) + (size_t)(i + 1) % 2 * disk.room, "slots are written in turn");
    }
    is_u64(head.writer, 4711, "it says who wrote it");
    taken = xl_image_take(&back, &head, body, true);
    ok(taken.added == 2 && !taken.raised && !taken.refused, "an empty ledger takes all of it");
    is_u64(sent(&back, "a"), 105, "with its counters");
    is_u64(xl_entry_active(&back, xl_ledger_entry(&back, 1)), 0, "and nothing active");
    taken = xl_image_take(&back, &head, body, true);
    ok(!taken.added && !taken.raised && !taken.refused, "a second time changes nothing");
    is_u64(xl_image_body(&ledger, NULL, 0), 2 * sizeof(xl_entry_t), "without room it says what it takes");
    free(ledger.base);
    free(back.base);
}

/* The heart: power fails after each byte of the write of the fourth copy. */
static void test_torn(void)
{
    disk_t before, disk;
    xl_ledger_t ledger = fresh(CAPACITY, "boot-1");
    unsigned wrong = 0, old = 0, new = 0;
    size_t whole, at;
    xl_image_head_t head;
    const void *body;

    make_disk(&before);
    counter(&ledger, "a", 100);
    counter(&ledger, "b", 1);
    for (int i = 0; i < 3; i++) {
        counter(&ledger, "a", 10);
        store(&before, &ledger, XL_IMAGE_NO_SLOT, SIZE_MAX);
    }
    counter(&ledger, "a", 10);
    disk = before;
    whole = store(&disk, &ledger, XL_IMAGE_NO_SLOT, SIZE_MAX);
    for (at = 0; at <= whole; at++) {
        disk = before;
        store(&disk, &ledger, XL_IMAGE_NO_SLOT, at);
        if (!load(&disk, &head, &body) || (head.sequence != 3 && head.sequence != 4))
            wrong++;
        else if (head.sequence == 3)
            old++;
        else
            new++;
    }
    is_u64(wrong, 0, "wherever power fails, a whole copy is there");
    is_u64(new, 1, "the new one when all of it was written");
    is_u64(old, whole, "else the one before");

    disk = before;
    store(&disk, &ledger, XL_IMAGE_NO_SLOT, whole / 2);
    store(&disk, &ledger, 1, SIZE_MAX);
    ok(load(&disk, &head, &body) && head.sequence == 4, "a write that failed is done again");
    is_u64(head.body_at, xl_image_file_bytes(0) + disk.room, "into the same slot");
    store(&disk, &ledger, 1, SIZE_MAX);
    ok(load(&disk, &head, &body) && head.sequence == 5 && head.body_at == xl_image_file_bytes(0) + disk.room,
       "even when the head was written, and nobody knows whether that is on the disk");

    /* the disk writes in an order of its own: the head first, the body not yet */
    disk = before;
    store(&disk, &ledger, XL_IMAGE_NO_SLOT, SIZE_MAX);
    memcpy(disk.bytes + xl_image_file_bytes(0) + disk.room, before.bytes + xl_image_file_bytes(0) + disk.room,
           disk.room);
    ok(load(&disk, &head, &body) && head.sequence == 3, "a head without its body is not believed");
    free(ledger.base);
}

/* A flipped bit anywhere: the copy in which it is is not used, unless it stands
 * where nothing is. */
static void test_flips(void)
{
    disk_t disk;
    xl_ledger_t ledger = fresh(CAPACITY, "boot-1");
    unsigned lost = 0, wrong = 0, caught = 0, bit;
    xl_image_head_t head;
    const void *body;
    size_t at;

    make_disk(&disk);
    counter(&ledger, "a", 100);
    store(&disk, &ledger, XL_IMAGE_NO_SLOT, SIZE_MAX);
    counter(&ledger, "a", 100);
    store(&disk, &ledger, XL_IMAGE_NO_SLOT, SIZE_MAX);
    for (at = 0; at < disk.size; at++) {
        bit = 1u << at % 8;
        disk.bytes[at] ^= (unsigned char)bit;
        if (!load(&disk, &head, &body)) {
            lost++;
        } else {
            xl_ledger_t back = fresh(CAPACITY, "boot-1");

            xl_image_take(&back, &head, body, true);
            wrong += sent(&back, "a") != 100 * head.sequence;
            caught += head.sequence == 1;
            free(back.base);
        }
        disk.bytes[at] ^= (unsigned char)bit;
    }
    is_u64(lost, 0, "whichever byte is flipped, one copy is good");
    is_u64(wrong, 0, "and holds what was counted");
    is_u64(caught, sizeof(head) + sizeof(xl_entry_t), "each flip in the newest copy is caught");
    free(ledger.base);
}

static void reseal(xl_image_head_t *head)
{
    head->crc = xl_crc32(head, offsetof(xl_image_head_t, crc));
}

typedef struct {
    const char *what;
    size_t at, bytes;
    uint64_t value;
    bool newer;
} lie_t;

#define LIE(field, number, is_newer) \
    { #field " = " #number, offsetof(xl_image_head_t, field), sizeof(((xl_image_head_t *)0)->field), number, is_newer }

/* Heads with a right checksum: children can write what they like. */
static void test_lies(void)
{
    static const lie_t t[] = {
        LIE(version, 0, false),
        LIE(version, XL_IMAGE_VERSION + 1, true),
        LIE(version, UINT32_MAX, true),
        LIE(order, 0x04030201, false),
        LIE(body_version, 0, false),
        LIE(body_version, XL_LEDGER_VERSION + 1, true),
        LIE(record_bytes, 0, false),
        LIE(record_bytes, 64, false),
        LIE(record_bytes, sizeof(xl_entry_t) + 64, false),
        LIE(record_bytes, UINT32_MAX, false),
        LIE(verdicts, XL_VERDICTS + 1, false),
        LIE(sequence, 0, false),
        LIE(sequence, UINT64_MAX, false),
        LIE(length, 1, false),
        LIE(length, UINT64_MAX, false),
        LIE(length, sizeof(xl_entry_t) * 100000, false),
        LIE(length, UINT64_MAX / 64 * 64, false),
        LIE(body_at, 0, false),
        LIE(body_at, XL_IMAGE_PAGE, false),
        LIE(body_at, 8193, false),
        LIE(body_at, UINT64_C(1) << 40, false),
        LIE(body_at, UINT64_MAX - 4095, false),
    };
    disk_t disk;
    xl_ledger_t ledger = fresh(CAPACITY, "boot-1");
    xl_image_head_t sound, head;
    bool newer;

    make_disk(&disk);
    counter(&ledger, "a", 100);
    store(&disk, &ledger, XL_IMAGE_NO_SLOT, SIZE_MAX);
    memcpy(&sound, disk.bytes, sizeof(sound));
    is_str(xl_image_check_head(&sound, FORM, disk.size, &newer), NULL, "a head is good");
    for (size_t i = 0; i < COUNT(t); i++) {
        uint64_t value = t[i].value;

        head = sound;
        memcpy((unsigned char *)&head + t[i].at, &value, t[i].bytes);
        reseal(&head);
        ok(xl_image_check_head(&head, FORM, disk.size, &newer) != NULL, "%s is refused", t[i].what);
        ok(newer == t[i].newer, "... and is %sof a newer version", t[i].newer ? "" : "not ");
    }
    head = sound;
    memset(head.boot_id, 'x', sizeof(head.boot_id));
    reseal(&head);
    ok(xl_image_check_head(&head, FORM, disk.size, &newer) != NULL, "a boot id without an end is refused");
    head = sound;
    head.wall_ms = INT64_MAX;
    reseal(&head);
    is_str(xl_image_check_head(&head, FORM, disk.size, &newer), NULL, "a time in the future is: sequences count");
    ok(xl_image_check_head(&sound, FORM, sound.body_at + sound.length - 1, &newer) != NULL,
       "a file that was cut is refused");
    free(ledger.base);
}

/* Bodies with a right checksum that hold what is no entry. */
static void test_bodies(void)
{
    static const struct {
        const char *what;
        size_t at;
        unsigned char byte;
    } t[] = {
        { "a kind that is none", offsetof(xl_entry_t, kind), 0 },
        { "a kind that is unknown", offsetof(xl_entry_t, kind), 77 },
        { "another fingerprint", offsetof(xl_entry_t, id), 1 },
        { "another name", offsetof(xl_entry_t, name), 'z' },
    };
    _Alignas(64) unsigned char body[4 * sizeof(xl_entry_t)];
    xl_ledger_t ledger = fresh(CAPACITY, "boot-1");
    xl_image_head_t head;
    size_t length;

    counter(&ledger, "a", 100);
    length = xl_image_body(&ledger, body, sizeof(body));
    for (size_t i = 0; i < COUNT(t); i++) {
        unsigned char was = body[t[i].at];

        body[t[i].at] = t[i].byte;
        xl_image_sign(&head, FORM, &ledger, 1, 1000, 1);
        xl_image_seal(&head, 0, sizeof(body), body, length, 1);
        ok(xl_image_check_body(&head, FORM, body) != NULL, "%s is refused", t[i].what);
        body[t[i].at] = was;
    }
    memset(body + offsetof(xl_entry_t, place), 'x', XL_LABEL_MAX);
    xl_image_sign(&head, FORM, &ledger, 1, 1000, 1);
    xl_image_seal(&head, 0, sizeof(body), body, length, 1);
    ok(xl_image_check_body(&head, FORM, body) != NULL, "a label without an end is refused");

    memset(xl_ledger_entry(&ledger, 0)->place, 'x', XL_LABEL_MAX);
    is_u64(xl_image_body(&ledger, body, sizeof(body)), 0, "an entry that is not sound is left out of a copy");
    free(ledger.base);
}

static void test_order(void)
{
    static const struct {
        const char *what;
        uint64_t sequence[2];
        bool good[2];
        unsigned unfinished, newest, next;
        uint64_t sequence_next;
    } t[] = {
        { "nothing yet", { 0, 0 }, { false, false }, XL_IMAGE_NO_SLOT, XL_IMAGE_NO_SLOT, 0, 1 },
        { "the first one", { 1, 0 }, { true, false }, XL_IMAGE_NO_SLOT, 0, 1, 2 },
        { "the second is newer", { 7, 8 }, { true, true }, XL_IMAGE_NO_SLOT, 1, 0, 9 },
        { "the first is newer", { 9, 8 }, { true, true }, XL_IMAGE_NO_SLOT, 0, 1, 10 },
        { "the newer one is bad", { 9, 8 }, { false, true }, XL_IMAGE_NO_SLOT, 1, 0, 9 },
        { "both are the same", { 4, 4 }, { true, true }, XL_IMAGE_NO_SLOT, 0, 1, 5 },
        { "the newer one may be unfinished", { 9, 8 }, { true, true }, 0, 0, 0, 10 },
        { "the older one was unfinished", { 9, 8 }, { true, true }, 1, 0, 1, 10 },
    };

    for (size_t i = 0; i < COUNT(t); i++) {
        xl_image_head_t head[2] = { { .sequence = t[i].sequence[0] }, { .sequence = t[i].sequence[1] } };
        uint64_t sequence;

        is_u64(xl_image_newest(head, t[i].good), t[i].newest, t[i].what);
        is_u64(xl_image_next(head, t[i].good, t[i].unfinished, &sequence), t[i].next, "... where the next one goes");
        is_u64(sequence, t[i].sequence_next, "... and its number");
    }
}

/* What a start makes of a ledger and a copy of it. */
static void test_merge(void)
{
    static const struct {
        const char *what;
        uint64_t ledger, copy, both; /* bytes sent; UINT64_MAX: no such entry */
        uint32_t added, raised;
    } t[] = {
        { "the ledger knows more", 500, 400, 500, 0, 0 },
        { "the copy knows more", 400, 500, 500, 0, 1 },
        { "both are the same", 400, 400, 400, 0, 0 },
        { "only the copy has it", UINT64_MAX, 400, 400, 1, 0 },
    };
    _Alignas(64) unsigned char body[CAPACITY * sizeof(xl_entry_t)];

    for (size_t i = 0; i < COUNT(t); i++) {
        xl_ledger_t ledger = fresh(CAPACITY, "boot-1"), source = fresh(CAPACITY, "boot-1");
        xl_ledger_t lower = fresh(CAPACITY, "boot-1");
        xl_image_head_t head;
        xl_image_taken_t taken;

        counter(&lower, "a", 1);
        if (t[i].ledger != UINT64_MAX)
            counter(&ledger, "a", t[i].ledger);
        atomic_store(&counter(&source, "a", t[i].copy)->warned, t[i].copy);
        xl_image_sign(&head, FORM, &source, 1, 1000, 1);
        xl_image_seal(&head, 0, sizeof(body), body, xl_image_body(&source, body, sizeof(body)), 1);
        taken = xl_image_take(&ledger, &head, body, true);
        xl_image_take(&lower, &head, body, false);
        is_u64(sent(&ledger, "a"), t[i].both, t[i].what);
        is_u64(sent(&lower, "a"), 1, "... unless what is there shall stay");
        ok(taken.added == t[i].added && taken.raised == t[i].raised && !taken.refused, "... and is told so");
        is_u64(atomic_load(&xl_ledger_entry(&ledger, 0)->warned), t[i].both > t[i].ledger || t[i].added ? t[i].copy : 0,
               "... states go with the later one");
        free(ledger.base);
        free(lower.base);
        free(source.base);
    }
}

static void test_boots_and_room(void)
{
    _Alignas(64) unsigned char body[CAPACITY * sizeof(xl_entry_t)];
    xl_ledger_t source = fresh(CAPACITY, "boot-1"), same = fresh(2, "boot-1"), other = fresh(CAPACITY, "boot-2");
    xl_image_head_t head;
    xl_image_taken_t taken;

    atomic_store(&counter(&source, "a", 1)->meter.tat_ns, 99);
    atomic_store(&counter(&source, "a", 0)->speed.tat_ns, 99);
    xl_mark_lock(&counter(&source, "a", 0)->mark, 1, 99);
    counter(&source, "b", 1);
    counter(&source, "c", 1);
    xl_image_sign(&head, FORM, &source, 1, 1000, 1);
    xl_image_seal(&head, 0, sizeof(body), body, xl_image_body(&source, body, sizeof(body)), 1);
    is_str(xl_image_check_body(&head, FORM, body), NULL, "a copy of three");
    taken = xl_image_take(&same, &head, body, true);
    ok(taken.added == 2 && taken.refused == 1, "what finds no room is told");
    is_u64(atomic_load(&xl_ledger_entry(&same, 0)->meter.tat_ns), 99, "within a boot meters go on");
    xl_image_take(&other, &head, body, true);
    is_u64(atomic_load(&xl_ledger_entry(&other, 0)->meter.tat_ns), 0, "after another boot they are at rest");
    is_u64(atomic_load(&xl_ledger_entry(&other, 0)->speed.tat_ns), 0, "... of a speed answer, too");
    is_u64(atomic_load(&xl_ledger_entry(&same, 0)->mark) >> 20, 99, "within a boot a lock-out goes on");
    is_u64(atomic_load(&xl_ledger_entry(&other, 0)->mark), 0, "after another boot its end means nothing");
    free(source.base);
    free(same.base);
    free(other.base);
}

int main(void)
{
    test_sizes();
    test_round_trip();
    test_torn();
    test_flips();
    test_lies();
    test_bodies();
    test_order();
    test_merge();
    test_boots_and_room();
    return done_testing();
}
