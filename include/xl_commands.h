/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_commands: what the readers of directives share among each other
 * (commands.c, limits.c, actions.c, sections.c, accounts.c, classes.c, keyzones.c,
 * zones.c), and config.c; nobody else includes it. All of them run while a configuration
 * file or a .htaccess file is read, return NULL or a sentence for the
 * administrator, and keep no state but the accounts, the classes and the zones.
 */
#ifndef XL_COMMANDS_H
#define XL_COMMANDS_H

#include "xl_config.h"

/* Where a directive may stand (xl_directives.def). httpd knows no section but
 * its own: the bits for <XLimitAccount> and <XLimitClass> are none of its
 * overrides. */
#define XL_IN_SCOPES (RSRC_CONF | OR_LIMIT)
#define XL_IN_ACCOUNTS (XL_IN_SCOPES | XL_IN_ACCOUNT)
#define XL_IN_HOSTS RSRC_CONF
#define XL_IN_SERVER RSRC_CONF
#define XL_IN_ACCOUNT (1 << 20)
#define XL_IN_CLASS (1 << 21)

/* "XLimitQuota: ..." in the pool of the command. */
const char *xl_command_error(const cmd_parms *cmd, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Read from .htaccess: at a request, by somebody who is trusted less. */
bool xl_command_runtime(const cmd_parms *cmd);

/* What every directive of XL_IN_SCOPES begins with: NULL when it may stand here,
 * and its section is noted. */
const char *xl_command_in_scope(cmd_parms *cmd, xl_dir_conf_t *conf);

/* The next word of a line, unquoted; NULL at the end. A quote may open a word
 * or its value: "a=b c" and a="b c" are the same word. */
const char *xl_command_word(const cmd_parms *cmd, const char **line, const char **word);

/* What is wrong with a name= or the name of an account, or NULL. */
const char *xl_command_name_fault(const char *name);

/* Compiles an expression with the flags that its place asks for. */
const char *xl_command_expr(const cmd_parms *cmd, const char *text, unsigned flags, ap_expr_info_t **expr);

/* Where the command stands: "" in a server or virtual host, else
 * "Location /dl > If ..." or "htaccess /srv/www/ > Files *.iso". */
const char *xl_command_place(const cmd_parms *cmd);

/* "redirect URL [CODE]", "status CODE", "speed RATE [COUNT/TIME] [COUNT]", "close", "pass". */
const char *xl_action_parse(const cmd_parms *cmd, const char *text, xl_action_t *action);

void xl_actions_reset(void); /* pre_config */

/* XLimitQuota, XLimitBandwidth, ... (limits.c) */
const char *xl_set_quota(cmd_parms *cmd, void *dir, const char *args);
const char *xl_set_bandwidth(cmd_parms *cmd, void *dir, const char *args);
const char *xl_set_upload(cmd_parms *cmd, void *dir, const char *args);
const char *xl_set_requests(cmd_parms *cmd, void *dir, const char *args);
const char *xl_set_connections(cmd_parms *cmd, void *dir, const char *args);
const char *xl_set_penalty(cmd_parms *cmd, void *dir, const char *args);
const char *xl_set_block(cmd_parms *cmd, void *dir, const char *args);

/* XLimitZone; the zone of a limit, by its name; all of them (keyzones.c) */
const char *xl_set_zone(cmd_parms *cmd, void *dir, const char *args);
const char *xl_keyzones_use(const cmd_parms *cmd, xl_limit_t *limit);
void xl_keyzones_reset(apr_pool_t *pconf);
int xl_keyzones_resolve(void); /* errors are logged with file and line; !OK stops the start */

/* The NAME of a section `of` something ("an account"), and its content, which is
 * read with the bit `in` as the place where its directives stand. */
const char *xl_section_name(cmd_parms *cmd, const char *args, const char *of, const char **name);
const char *xl_section_content(cmd_parms *cmd, int in, const char *name, xl_dir_conf_t **conf);

/* <XLimitAccount>, XLimitAccount. */
const char *xl_open_account(cmd_parms *cmd, void *dir, const char *args);
const char *xl_set_account(cmd_parms *cmd, void *dir, const char *name);

/* The account in whose section the command stands, or NULL. */
const char *xl_command_account(const cmd_parms *cmd);

/* Forgets all accounts (pre_config). */
void xl_accounts_reset(apr_pool_t *pconf);

/* Puts each server's account between what it has from outside and what is its
 * own. Errors are logged with file and line; !OK stops the start. */
int xl_accounts_apply(apr_pool_t *pconf, server_rec *main_server);

/* Notes a limit, a section of a configuration file (config.c). */
void xl_config_register(const cmd_parms *cmd, xl_dir_conf_t *scope, xl_limit_t *limit);
void xl_config_note_section(const cmd_parms *cmd, xl_dir_conf_t *conf);

/* Forgets all zones and loads the server's own (pre_config). */
void xl_zones_reset(apr_pool_t *pconf);

/* The server's own zone, never NULL. *fault: why it is UTC instead, or NULL. */
const xl_zone_t *xl_zones_default(const char **fault);

/* A zone by its name, "Europe/Berlin". */
const char *xl_zones_find(const cmd_parms *cmd, const char *name, const xl_zone_t **zone);

#endif
