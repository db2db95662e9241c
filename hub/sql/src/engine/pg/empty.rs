//! Tables of PostgreSQL for what there is nothing of here: no indexes, no constraints, no triggers.

/// Schema, name, columns (types as in `FULL`).
pub(super) const TABLES: &[(&str, &str, &str)] = &[
    (
        "pg_catalog",
        "pg_index",
        "i indexrelid, i indrelid, s indnatts, s indnkeyatts, b indisunique, b indnullsnotdistinct, b indisprimary, \
         b indisexclusion, b indimmediate, b indisclustered, b indisvalid, b indcheckxmin, b indisready, b indislive, \
         b indisreplident, I indkey, I indcollation, I indclass, I indoption, t indexprs, t indpred",
    ),
    ("pg_catalog", "pg_attrdef", "i oid, i adrelid, s adnum, t adbin"),
    (
        "pg_catalog",
        "pg_constraint",
        "i oid, t conname, i connamespace, t contype, b condeferrable, b condeferred, b convalidated, i conrelid, \
         i contypid, i conindid, i conparentid, i confrelid, t confupdtype, t confdeltype, t confmatchtype, \
         b conislocal, n coninhcount, b connoinherit, I conkey, I confkey, t conbin",
    ),
    ("pg_catalog", "pg_description", "i objoid, i classoid, n objsubid, t description"),
    ("pg_catalog", "pg_shdescription", "i objoid, i classoid, t description"),
    (
        "pg_catalog",
        "pg_collation",
        "i oid, t collname, i collnamespace, i collowner, t collprovider, b collisdeterministic, n collencoding, \
         t collcollate, t collctype, t colliculocale, t collversion",
    ),
    ("pg_catalog", "pg_inherits", "i inhrelid, i inhparent, n inhseqno, b inhdetachpending"),
    (
        "pg_catalog",
        "pg_policy",
        "i oid, t polname, i polrelid, t polcmd, b polpermissive, I polroles, t polqual, t polwithcheck",
    ),
    (
        "pg_catalog",
        "pg_publication",
        "i oid, t pubname, i pubowner, b puballtables, b pubinsert, b pubupdate, b pubdelete, b pubtruncate, b pubviaroot",
    ),
    ("pg_catalog", "pg_publication_rel", "i oid, i prpubid, i prrelid, t prqual, I prattrs"),
    ("pg_catalog", "pg_publication_namespace", "i oid, i pnpubid, i pnnspid"),
    ("pg_catalog", "pg_publication_tables", "t pubname, t schemaname, t tablename"),
    ("pg_catalog", "pg_subscription", "i oid, i subdbid, t subname, i subowner, b subenabled"),
    (
        "pg_catalog",
        "pg_statistic_ext",
        "i oid, i stxrelid, t stxname, i stxnamespace, i stxowner, n stxstattarget, I stxkeys, T stxkind, t stxexprs",
    ),
    (
        "pg_catalog",
        "pg_trigger",
        "i oid, i tgrelid, i tgparentid, t tgname, i tgfoid, s tgtype, t tgenabled, b tgisinternal, i tgconstrrelid, \
         i tgconstrindid, i tgconstraint, b tgdeferrable, b tginitdeferred, s tgnargs, t tgattr, t tgargs, t tgqual, \
         t tgoldtable, t tgnewtable",
    ),
    (
        "pg_catalog",
        "pg_rewrite",
        "i oid, t rulename, i ev_class, t ev_type, t ev_enabled, b is_instead, t ev_qual, t ev_action",
    ),
    (
        "pg_catalog",
        "pg_sequence",
        "i seqrelid, i seqtypid, i seqstart, i seqincrement, i seqmax, i seqmin, i seqcache, b seqcycle",
    ),
    ("pg_catalog", "pg_sequences", "t schemaname, t sequencename, t sequenceowner, i last_value"),
    ("pg_catalog", "pg_enum", "i oid, i enumtypid, r enumsortorder, t enumlabel"),
    (
        "pg_catalog",
        "pg_range",
        "i rngtypid, i rngsubtype, i rngmultitypid, i rngcollation, i rngsubopc, i rngcanonical, i rngsubdiff",
    ),
    (
        "pg_catalog",
        "pg_extension",
        "i oid, t extname, i extowner, i extnamespace, b extrelocatable, t extversion",
    ),
    ("pg_catalog", "pg_available_extensions", "t name, t default_version, t installed_version, t comment"),
    ("pg_catalog", "pg_tablespace", "i oid, t spcname, i spcowner, T spcacl, T spcoptions"),
    (
        "pg_catalog",
        "pg_depend",
        "i classid, i objid, n objsubid, i refclassid, i refobjid, n refobjsubid, t deptype",
    ),
    (
        "pg_catalog",
        "pg_shdepend",
        "i dbid, i classid, i objid, n objsubid, i refclassid, i refobjid, t deptype",
    ),
    (
        "pg_catalog",
        "pg_event_trigger",
        "i oid, t evtname, t evtevent, i evtowner, i evtfoid, t evtenabled, T evttags",
    ),
    (
        "pg_catalog",
        "pg_matviews",
        "t schemaname, t matviewname, t matviewowner, t tablespace, b hasindexes, b ispopulated, t definition",
    ),
    ("pg_catalog", "pg_indexes", "t schemaname, t tablename, t indexname, t tablespace, t indexdef"),
    (
        "pg_catalog",
        "pg_operator",
        "i oid, t oprname, i oprnamespace, i oprowner, t oprkind, i oprleft, i oprright, i oprresult",
    ),
    (
        "pg_catalog",
        "pg_opclass",
        "i oid, i opcmethod, t opcname, i opcnamespace, i opcowner, i opcfamily, i opcintype, b opcdefault",
    ),
    ("pg_catalog", "pg_cast", "i oid, i castsource, i casttarget, i castfunc, t castcontext, t castmethod"),
    ("pg_catalog", "pg_aggregate", "i aggfnoid, t aggkind, s aggnumdirectargs, i aggtransfn, i aggfinalfn"),
    ("pg_catalog", "pg_partitioned_table", "i partrelid, t partstrat, s partnatts, i partdefid, I partattrs"),
    ("pg_catalog", "pg_default_acl", "i oid, i defaclrole, i defaclnamespace, t defaclobjtype, T defaclacl"),
    ("pg_catalog", "pg_auth_members", "i roleid, i member, i grantor, b admin_option"),
    ("pg_catalog", "pg_db_role_setting", "i setdatabase, i setrole, T setconfig"),
    ("pg_catalog", "pg_locks", "t locktype, i database, i relation, n pid, t mode, b granted"),
    (
        "pg_catalog",
        "pg_stat_activity",
        "i datid, t datname, n pid, i usesysid, t usename, t application_name, t client_addr, t state, t query",
    ),
    ("pg_catalog", "pg_prepared_xacts", "t transaction, t gid, t prepared, t owner, t database"),
    ("pg_catalog", "pg_ts_config", "i oid, t cfgname, i cfgnamespace, i cfgowner, i cfgparser"),
    ("pg_catalog", "pg_group", "t groname, i grosysid, I grolist"),
    (
        "information_schema",
        "table_constraints",
        "t constraint_catalog, t constraint_schema, t constraint_name, t table_catalog, t table_schema, t table_name, \
         t constraint_type, t is_deferrable, t initially_deferred, t enforced",
    ),
    (
        "information_schema",
        "key_column_usage",
        "t constraint_catalog, t constraint_schema, t constraint_name, t table_catalog, t table_schema, t table_name, \
         t column_name, n ordinal_position, n position_in_unique_constraint",
    ),
    (
        "information_schema",
        "constraint_column_usage",
        "t table_catalog, t table_schema, t table_name, t column_name, t constraint_catalog, t constraint_schema, \
         t constraint_name",
    ),
    (
        "information_schema",
        "referential_constraints",
        "t constraint_catalog, t constraint_schema, t constraint_name, t unique_constraint_catalog, \
         t unique_constraint_schema, t unique_constraint_name, t match_option, t update_rule, t delete_rule",
    ),
    (
        "information_schema",
        "routines",
        "t specific_name, t routine_catalog, t routine_schema, t routine_name, t routine_type, t data_type",
    ),
    (
        "information_schema",
        "parameters",
        "t specific_name, n ordinal_position, t parameter_mode, t parameter_name, t data_type",
    ),
    (
        "information_schema",
        "sequences",
        "t sequence_catalog, t sequence_schema, t sequence_name, t data_type",
    ),
    (
        "information_schema",
        "triggers",
        "t trigger_catalog, t trigger_schema, t trigger_name, t event_object_table",
    ),
    (
        "information_schema",
        "table_privileges",
        "t grantor, t grantee, t table_catalog, t table_schema, t table_name, t privilege_type, t is_grantable",
    ),
];

/// True for a table that has no rows.
pub(super) fn is_empty(schema: &str, name: &str) -> bool {
    TABLES.iter().any(|entry| entry.0 == schema && entry.1 == name)
}
