/* SPDX-License-Identifier: Apache-2.0
 *
 * xl_commands: what the readers of directives share among each other
 * (commands.c, limits.c, actions.c, zones.c); nobody else includes it. All of
 * them run while a configuration file or a .htaccess file is read, return NULL
 * or a sentence for the administrator, and keep no state but the zones.
 */
#ifndef XL_COMMANDS_H
#define XL_COMMANDS_H

#include "xl_config.h"

#define XL_IN_SCOPES (RSRC_CONF | OR_LIMIT)
#define XL_IN_SERVER RSRC_CONF

/* "XLimitQuota: ..." in the pool of the command. */
const char *xl_command_error(const cmd_parms *cmd, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Read from .htaccess: at a request, by somebody who is trusted less. */
bool xl_command_runtime(const cmd_parms *cmd);

/* The next word of a line, unquoted; NULL at the end. A quote may open a word
 * or its value: "a=b c" and a="b c" are the same word. */
const char *xl_command_word(const cmd_parms *cmd, const char **line, const char **word);

/* Compiles an expression with the flags that its place asks for. */
const char *xl_command_expr(const cmd_parms *cmd, const char *text, unsigned flags, ap_expr_info_t **expr);

/* Where the command stands: "" in a server or virtual host, else
 * "Location /dl > If ..." or "htaccess /srv/www/ > Files *.iso". */
const char *xl_command_place(const cmd_parms *cmd);

/* "redirect URL [CODE]", "status CODE", "speed RATE", "close", "pass". */
const char *xl_action_parse(const cmd_parms *cmd, const char *text, xl_action_t *action);

/* XLimitQuota and XLimitBandwidth. */
const char *xl_set_quota(cmd_parms *cmd, void *dir, const char *args);
const char *xl_set_bandwidth(cmd_parms *cmd, void *dir, const char *args);

/* Notes a limit of a configuration file (config.c). */
void xl_config_register(const cmd_parms *cmd, xl_dir_conf_t *scope, xl_limit_t *limit);

/* Forgets all zones and loads the server's own (pre_config). */
void xl_zones_reset(apr_pool_t *pconf);

/* The server's own zone, never NULL. *fault: why it is UTC instead, or NULL. */
const xl_zone_t *xl_zones_default(const char **fault);

/* A zone by its name, "Europe/Berlin". */
const char *xl_zones_find(const cmd_parms *cmd, const char *name, const xl_zone_t **zone);

#endif
