/* SPDX-License-Identifier: Apache-2.0
 *
 * network_file: a file of networks, one on each line, and by what one knows that
 * it has changed. Reads it as a whole into the caller's pool, or says which line
 * is wrong; never takes a part of a file. Keeps nothing, needs no lock.
 */
#include "xl_networks.h"
#include "xl_lines.h"

#include "apr_file_io.h"
#include "apr_strings.h"

#include <string.h>

#define MOST_BYTES (64 * 1024 * 1024)
#define WANTED (APR_FINFO_TYPE | APR_FINFO_MTIME | APR_FINFO_CTIME | APR_FINFO_SIZE | APR_FINFO_IDENT)

const char *xl_network_file_look(apr_pool_t *p, const char *path, xl_stamp_t *stamp)
{
    apr_finfo_t info;
    apr_status_t rv = apr_stat(&info, path, WANTED, p);
    char buf[120];

    *stamp = (xl_stamp_t){0};
    if (rv != APR_SUCCESS && rv != APR_INCOMPLETE)
        return apr_pstrdup(p, apr_strerror(rv, buf, sizeof(buf)));
    if (info.filetype != APR_REG)
        return "it is no regular file";
    *stamp = (xl_stamp_t){true, info.mtime, info.ctime, info.size, info.inode, info.device};
    return NULL;
}

static const char *read_whole(apr_pool_t *p, const char *path, apr_off_t size, char **text, apr_size_t *length)
{
    apr_file_t *file;
    apr_status_t rv;
    char buf[120];

    if (size > MOST_BYTES)
        return "it is larger than 64 MiB";
    rv = apr_file_open(&file, path, APR_FOPEN_READ | APR_FOPEN_BINARY, APR_FPROT_OS_DEFAULT, p);
    if (rv != APR_SUCCESS)
        return apr_pstrdup(p, apr_strerror(rv, buf, sizeof(buf)));
    *text = apr_palloc(p, (apr_size_t)size + 1);
    rv = apr_file_read_full(file, *text, (apr_size_t)size, length);
    apr_file_close(file);
    (*text)[*length] = '\0';
    return rv == APR_SUCCESS || rv == APR_EOF ? NULL : apr_pstrdup(p, apr_strerror(rv, buf, sizeof(buf)));
}

static size_t count_lines(const char *text)
{
    size_t n = 1;

    while ((text = strchr(text, '\n')) != NULL) {
        text++;
        n++;
    }
    return n;
}

/* NULL, or the line that is wrong and why. */
static const char *parse_lines(apr_pool_t *p, const xl_network_file_t *file, char *text, xl_networks_t *list)
{
    uint32_t line;
    char *word;

    list->entries = apr_palloc(p, count_lines(text) * sizeof(*list->entries));
    for (line = 1; (word = xl_lines_next(&text)) != NULL; line++) {
        xl_prefix_entry_t entry = {.value = file->id, .source = file->source, .line = line};
        const char *fault;

        if (!*word)
            continue;
        fault = xl_prefix_parse(word, &entry.prefix);
        if (fault)
            return apr_psprintf(p, "line %u: \"%.64s\" is no network: %s", (unsigned)line, word, fault);
        list->entries[list->n++] = entry;
    }
    return NULL;
}

const char *xl_network_file_read(apr_pool_t *p, const xl_network_file_t *file, xl_networks_t *list)
{
    char *text = NULL;
    apr_size_t length = 0;
    const char *fault = read_whole(p, file->path, file->stamp.size, &text, &length);

    list->n = 0;
    if (fault)
        return apr_pstrcat(p, "it cannot be read: ", fault, NULL);
    if (memchr(text, '\0', length))
        return "it is no text: there is a zero byte in it";
    return parse_lines(p, file, text, list);
}

/* ctime, too: who may read it now can be the only thing that has changed. */
bool xl_network_file_same(const xl_stamp_t *a, const xl_stamp_t *b)
{
    return a->there == b->there && a->mtime == b->mtime && a->ctime == b->ctime && a->size == b->size
           && a->inode == b->inode && a->device == b->device;
}
