/* SPDX-License-Identifier: Apache-2.0
 *
 * told: a page of shared words (contract in xl_told.h), made with the first
 * configuration and kept until the server ends. Who locks: nobody.
 */
#include "xl_told.h"

#include "xl_mark.h"
#include "xl_segment.h"
#include "xl_shared.h"

#include "http_config.h"
#include "http_log.h"

APLOG_USE_MODULE(xlimit);

#define RETAINED_KEY "mod_xlimit-told-2" /* of the layout of words_t */
#define SHARED 256u /* words of zones, and of files */

typedef struct {
    _Atomic uint64_t of[XL_TOLD_KINDS], of_zone[SHARED], of_file[SHARED];
} words_t;

static words_t *words;

bool xl_told_open(server_rec *s)
{
    words_t **kept = ap_retained_data_get(RETAINED_KEY);

    if (!kept)
        kept = ap_retained_data_create(RETAINED_KEY, sizeof(*kept));
    if (!*kept && !(*kept = xl_shared_make(sizeof(words_t)))) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, APR_FROM_OS_ERROR(errno), s,
                     "xlimit(541): no shared memory to remember what was told");
        return false;
    }
    words = *kept;
    return true;
}

static bool minute(_Atomic uint64_t *word)
{
    return xl_mark_minute(word, xl_now().mono_ns / XL_NS_PER_MS);
}

bool xl_told_minute(xl_told_e what)
{
    return minute(&words->of[what]);
}

bool xl_told_minute_of_zone(uint32_t index)
{
    return minute(&words->of_zone[index % SHARED]);
}

_Atomic uint64_t *xl_told_file(uint32_t source)
{
    return &words->of_file[source % SHARED];
}
