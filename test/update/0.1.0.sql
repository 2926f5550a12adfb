-- What version 0.1.0 has left in a database: the end of a pg_dump of it,
-- without the extension itself.  The projection wallet_balance has 4 partitions
-- and belongs to wallet_owner.  Number 36 was open when the dump was taken.
-- w7 is parked at event 25 with two events behind it, event 28 of w8 was
-- skipped.  The view monitoring uses the extension's projection_status.
SET check_function_bodies = false;
SET client_min_messages = warning;

CREATE VIEW public.monitoring AS
 SELECT projection_status.projection,
    projection_status.state,
    projection_status.lag_events
   FROM public.projection_status;

ALTER TABLE public.monitoring OWNER TO wallet_owner;

CREATE TABLE public.wallet_balances (
    wallet_id character varying(255) NOT NULL COLLATE pg_catalog."C",
    current_balance numeric(19,4) DEFAULT 0 NOT NULL,
    total_debits numeric(19,4) DEFAULT 0 NOT NULL,
    total_credits numeric(19,4) DEFAULT 0 NOT NULL,
    transaction_count integer DEFAULT 0 NOT NULL
)
WITH (fillfactor='70');

ALTER TABLE public.wallet_balances OWNER TO wallet_owner;

CREATE TABLE public.wallet_stream (
    no bigint NOT NULL,
    event_id uuid NOT NULL,
    event_name character varying(100) NOT NULL COLLATE pg_catalog."C",
    aggregate_type character varying(255) NOT NULL COLLATE pg_catalog."C",
    aggregate_id character varying(255) NOT NULL COLLATE pg_catalog."C",
    aggregate_version bigint NOT NULL,
    payload jsonb NOT NULL,
    metadata jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

ALTER TABLE public.wallet_stream OWNER TO wallet_owner;

ALTER TABLE public.wallet_stream ALTER COLUMN no ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.wallet_stream_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    MAXVALUE 9223372036854775806
    CACHE 1
);

COPY public.wallet_balances (wallet_id, current_balance, total_debits, total_credits, transaction_count) FROM stdin;
w10	110.0000	0.0000	10.0000	1
w11	111.0000	0.0000	11.0000	1
w12	112.0000	0.0000	12.0000	1
w7	107.0000	0.0000	7.0000	1
w9	109.0000	0.0000	9.0000	1
w8	108.2500	0.0000	8.2500	2
w2	100.0000	2.0000	2.0000	3
w4	102.0000	2.0000	4.0000	3
w1	99.0000	2.0000	1.0000	3
w3	101.0000	2.0000	3.0000	3
w5	103.0000	2.0000	5.0000	3
w6	104.0000	2.0000	6.0000	3
\.

COPY public.wallet_stream (no, event_id, event_name, aggregate_type, aggregate_id, aggregate_version, payload, metadata, created_at) FROM stdin;
1	01a218c2-6fbd-73ca-9d9d-01be50be20fb	WalletWasCreated	Wallet	w1	1	{"walletId": "w1", "initialBalance": 100}	{"_balance": [100.0000, 672050195224]}	2026-11-26 16:48:45.501263+00
2	01a218c2-6fbd-771e-a090-023ef0d114f6	WalletWasCreated	Wallet	w2	1	{"walletId": "w2", "initialBalance": 100}	{"_balance": [100.0000, 388281809471]}	2026-11-26 16:48:45.501449+00
3	01a218c2-6fbd-775c-9bb3-70a824903ec4	WalletWasCreated	Wallet	w3	1	{"walletId": "w3", "initialBalance": 100}	{"_balance": [100.0000, 762264196340]}	2026-11-26 16:48:45.501462+00
4	01a218c2-6fbd-7781-a70b-d732c89a542e	WalletWasCreated	Wallet	w4	1	{"walletId": "w4", "initialBalance": 100}	{"_balance": [100.0000, 331870638174]}	2026-11-26 16:48:45.501472+00
5	01a218c2-6fbd-77a5-b2cf-2390a22487aa	WalletWasCreated	Wallet	w5	1	{"walletId": "w5", "initialBalance": 100}	{"_balance": [100.0000, 201750782969]}	2026-11-26 16:48:45.50148+00
6	01a218c2-6fbd-77c6-b6f5-fe902eab683b	WalletWasCreated	Wallet	w6	1	{"walletId": "w6", "initialBalance": 100}	{"_balance": [100.0000, 575143330073]}	2026-11-26 16:48:45.501489+00
7	01a218c2-6fbd-77eb-baf8-737883b411ea	WalletWasCreated	Wallet	w7	1	{"walletId": "w7", "initialBalance": 100}	{"_balance": [100.0000, 193372264700]}	2026-11-26 16:48:45.501497+00
8	01a218c2-6fbd-780c-a0d7-c12065bdf68b	WalletWasCreated	Wallet	w8	1	{"walletId": "w8", "initialBalance": 100}	{"_balance": [100.0000, 986757614559]}	2026-11-26 16:48:45.501505+00
9	01a218c2-6fbd-782d-9a92-f3b702623ceb	WalletWasCreated	Wallet	w9	1	{"walletId": "w9", "initialBalance": 100}	{"_balance": [100.0000, 583290631261]}	2026-11-26 16:48:45.501514+00
10	01a218c2-6fbd-784d-aabf-2dacbe4a2ea2	WalletWasCreated	Wallet	w10	1	{"walletId": "w10", "initialBalance": 100}	{"_balance": [100.0000, 947679101027]}	2026-11-26 16:48:45.501522+00
11	01a218c2-6fbd-7872-861d-cd3e8a9c9310	WalletWasCreated	Wallet	w11	1	{"walletId": "w11", "initialBalance": 100}	{"_balance": [100.0000, 261937409373]}	2026-11-26 16:48:45.50153+00
12	01a218c2-6fbd-7897-a01f-04938aecdb4f	WalletWasCreated	Wallet	w12	1	{"walletId": "w12", "initialBalance": 100}	{"_balance": [100.0000, 498361865553]}	2026-11-26 16:48:45.501539+00
13	01a218c2-6fbd-7bca-8ee5-f2d55048d281	WalletWasCredited	Wallet	w1	2	{"amount": 1, "walletId": "w1"}	{"_balance": [101.0000, 227399031694]}	2026-11-26 16:48:45.501743+00
14	01a218c2-6fbd-7c20-83e6-5ef351b299bd	WalletWasCredited	Wallet	w2	2	{"amount": 2, "walletId": "w2"}	{"_balance": [102.0000, 161685270531]}	2026-11-26 16:48:45.501761+00
15	01a218c2-6fbd-7c4d-8f4c-ef49c215e733	WalletWasCredited	Wallet	w3	2	{"amount": 3, "walletId": "w3"}	{"_balance": [103.0000, 359848848751]}	2026-11-26 16:48:45.501772+00
16	01a218c2-6fbd-7c72-96a9-02b8393d73d5	WalletWasCredited	Wallet	w4	2	{"amount": 4, "walletId": "w4"}	{"_balance": [104.0000, 182617536332]}	2026-11-26 16:48:45.501781+00
17	01a218c2-6fbd-7c9b-9910-2180e838c32d	WalletWasCredited	Wallet	w5	2	{"amount": 5, "walletId": "w5"}	{"_balance": [105.0000, 783128770191]}	2026-11-26 16:48:45.50179+00
18	01a218c2-6fbd-7cc0-b589-a6521056be95	WalletWasCredited	Wallet	w6	2	{"amount": 6, "walletId": "w6"}	{"_balance": [106.0000, 739294334079]}	2026-11-26 16:48:45.501799+00
19	01a218c2-6fbd-7ce5-86a0-6cbd88415d02	WalletWasCredited	Wallet	w7	2	{"amount": 7, "walletId": "w7"}	{"_balance": [107.0000, 244555956195]}	2026-11-26 16:48:45.501808+00
20	01a218c2-6fbd-7d06-99d5-b8c85cf9b5b1	WalletWasCredited	Wallet	w8	2	{"amount": 8, "walletId": "w8"}	{"_balance": [108.0000, 513626676733]}	2026-11-26 16:48:45.501817+00
21	01a218c2-6fbd-7d2b-bb78-1bc44a516d77	WalletWasCredited	Wallet	w9	2	{"amount": 9, "walletId": "w9"}	{"_balance": [109.0000, 228858823659]}	2026-11-26 16:48:45.501826+00
22	01a218c2-6fbd-7d4f-901f-df4fc44074ae	WalletWasCredited	Wallet	w10	2	{"amount": 10, "walletId": "w10"}	{"_balance": [110.0000, 250844065081]}	2026-11-26 16:48:45.501834+00
23	01a218c2-6fbd-7d70-9e7d-266feb8d7794	WalletWasCredited	Wallet	w11	2	{"amount": 11, "walletId": "w11"}	{"_balance": [111.0000, 866359921718]}	2026-11-26 16:48:45.501843+00
24	01a218c2-6fbd-7d95-97af-ac8d7048f501	WalletWasCredited	Wallet	w12	2	{"amount": 12, "walletId": "w12"}	{"_balance": [112.0000, 728632937470]}	2026-11-26 16:48:45.501852+00
25	d5e0780c-fbfc-43aa-a3dd-27ff413774f7	WalletWasCredited	Wallet	w7	3	{"amount": "99999999999999999999"}	{}	2026-11-26 16:48:45.502215+00
26	0b548286-8070-4665-9519-995d54d5b075	WalletWasCredited	Wallet	w7	4	{"amount": "1.5"}	{}	2026-11-26 16:48:45.50223+00
27	e8201bfa-0a46-4dca-8c83-dd0caa44f857	WalletWasCredited	Wallet	w7	5	{"amount": "2.5"}	{}	2026-11-26 16:48:45.502236+00
28	3773b39b-3f4e-40a2-b532-702ab7c7a81a	WalletWasCredited	Wallet	w8	3	{"amount": "99999999999999999999"}	{}	2026-11-26 16:48:45.502241+00
29	3fdb94a0-0582-4b02-b123-bf42081174c0	WalletWasCredited	Wallet	w8	4	{"amount": "0.25"}	{}	2026-11-26 16:48:45.502245+00
30	01a218c2-6fca-7b1a-940a-5a7fb6fdec77	WalletWasDebited	Wallet	w1	3	{"amount": 1, "walletId": "w1"}	{"_balance": [100.0000, 213789769271]}	2026-11-26 16:48:45.514706+00
31	01a218c2-6fca-7bb2-b31c-661277ab2b37	WalletWasDebited	Wallet	w2	3	{"amount": 1, "walletId": "w2"}	{"_balance": [101.0000, 977357233284]}	2026-11-26 16:48:45.514734+00
32	01a218c2-6fca-7be7-a014-2aea4204f30d	WalletWasDebited	Wallet	w3	3	{"amount": 1, "walletId": "w3"}	{"_balance": [102.0000, 149877224567]}	2026-11-26 16:48:45.514747+00
33	01a218c2-6fca-7c10-a987-e549c678fd9c	WalletWasDebited	Wallet	w4	3	{"amount": 1, "walletId": "w4"}	{"_balance": [103.0000, 126610350689]}	2026-11-26 16:48:45.514757+00
34	01a218c2-6fca-7c39-918a-e97dd86e1e06	WalletWasDebited	Wallet	w5	3	{"amount": 1, "walletId": "w5"}	{"_balance": [104.0000, 298150454015]}	2026-11-26 16:48:45.514766+00
35	01a218c2-6fca-7c5e-b2d0-a347db9e2174	WalletWasDebited	Wallet	w6	3	{"amount": 1, "walletId": "w6"}	{"_balance": [105.0000, 728597332604]}	2026-11-26 16:48:45.514776+00
37	01a218c2-779f-77a5-9489-fc109efe2ddf	WalletWasDebited	Wallet	w1	4	{"amount": 1, "walletId": "w1"}	{"_balance": [99.0000, 481129611772]}	2026-11-26 16:48:47.519484+00
38	01a218c2-779f-780c-bdb7-a69d2124f0eb	WalletWasDebited	Wallet	w2	4	{"amount": 1, "walletId": "w2"}	{"_balance": [100.0000, 881550768013]}	2026-11-26 16:48:47.519506+00
39	01a218c2-779f-7841-b2ab-634d1bd6f14b	WalletWasDebited	Wallet	w3	4	{"amount": 1, "walletId": "w3"}	{"_balance": [101.0000, 235024253668]}	2026-11-26 16:48:47.519518+00
40	01a218c2-779f-786a-b75c-6eb4b16560c3	WalletWasDebited	Wallet	w4	4	{"amount": 1, "walletId": "w4"}	{"_balance": [102.0000, 707713663096]}	2026-11-26 16:48:47.519528+00
41	01a218c2-779f-7893-8cf1-ae3c87e29a2b	WalletWasDebited	Wallet	w5	4	{"amount": 1, "walletId": "w5"}	{"_balance": [103.0000, 979052600453]}	2026-11-26 16:48:47.519538+00
42	01a218c2-779f-78bc-8c35-afe2cc64cf6b	WalletWasDebited	Wallet	w6	4	{"amount": 1, "walletId": "w6"}	{"_balance": [104.0000, 281966678805]}	2026-11-26 16:48:47.519549+00
\.

COPY wallet_projection.channel (name, workers) FROM stdin;
async_projection	3
\.

COPY wallet_projection.old_gaps (projection, block, gaps) FROM stdin;
\.

COPY wallet_projection.parked (projection, partition_key, id, partition, no, version, event_name, attempts, waiting, first_failed_at, last_failed_at, next_retry_at, sqlstate, message, detail, hint, context, retry_error, applied) FROM stdin;
wallet_balance	w7	1	2	25	3	WalletWasCredited	1	2	2026-11-26 16:48:45.504727+00	2026-11-26 16:48:45.504727+00	\N	WP005	"amount" has more than 15 digits before the decimal point	\N	\N	\N	\N	{}
\.

COPY wallet_projection."position" (projection, lane, version, part, turn, groups, head, gaps, written, old_blocks, old_first, old_last, old_size, old_owners) FROM stdin;
wallet_balance	1	732	0	732	2	42	{[36,37)}	t	\N	\N	\N	\N	\N
wallet_balance	0	733	0	733	9	42	{[36,37)}	t	\N	\N	\N	\N	\N
wallet_balance	2	732	0	732	4	42	{[36,37)}	t	\N	\N	\N	\N	\N
\.

COPY wallet_projection.projection (name, stream, aggregate_type, handler, channel, partitions, batch_size, builtin) FROM stdin;
\.

COPY wallet_projection.projection_state (projection, channel, partitions, batch_size, read_model, relation, last_error, failures, next_try, max_attempts, retry_delay, retry_multiplier, retry_max_delay, retry_jitter, max_parked, table_schema, table_name, new_schema, new_name, installation, owner, owner_name) FROM stdin;
wallet_balance	async_projection	4	7	16564	16550	\N	\N	\N	1	1000	2	300000	0.1	100000	public	wallet_balances	\N	\N	7712523127209197015/16385/16387	16384	wallet_owner
\.

COPY wallet_projection.skipped (projection, no, partition_key, event_name, skipped_at, skipped_by, sqlstate, message, event_id, last_no, events) FROM stdin;
wallet_balance	28	w8	WalletWasCredited	2026-11-26 16:48:45.506946+00	postgres	WP005	"amount" has more than 15 digits before the decimal point	3773b39b-3f4e-40a2-b532-702ab7c7a81a	\N	\N
\.

COPY wallet_projection.stream (name, relation, table_schema, table_name, new_schema, new_name, installation) FROM stdin;
wallet_stream	16550	public	wallet_stream	\N	\N	7712523127209197015/16385/16387
\.

SELECT pg_catalog.setval('public.wallet_stream_no_seq', 42, true);

SELECT pg_catalog.setval('wallet_projection.parked_id_seq', 2, true);

ALTER TABLE ONLY public.wallet_balances
    ADD CONSTRAINT wallet_balances_pkey PRIMARY KEY (wallet_id);

ALTER TABLE ONLY public.wallet_stream
    ADD CONSTRAINT wallet_stream_aggregate_type_aggregate_id_aggregate_version_key UNIQUE (aggregate_type, aggregate_id, aggregate_version);

ALTER TABLE ONLY public.wallet_stream
    ADD CONSTRAINT wallet_stream_event_id_key UNIQUE (event_id);

ALTER TABLE ONLY public.wallet_stream
    ADD CONSTRAINT wallet_stream_pkey PRIMARY KEY (no);

CREATE TRIGGER wallet_projection_history AFTER UPDATE ON public.wallet_stream FOR EACH ROW EXECUTE FUNCTION wallet_projection.keep_history();
ALTER TRIGGER wallet_projection_history ON public.wallet_stream DEPENDS ON EXTENSION wallet_projection;

ALTER TABLE public.wallet_stream ENABLE ALWAYS TRIGGER wallet_projection_history;

GRANT CREATE ON SCHEMA public TO wallet_owner;

