--
-- An example to copy: a ticket board. A ticket is registered, assigned, and
-- gone from the board when it is closed; it may be opened again.
--
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/sql/helpers.psql'
\set ECHO none
\i :helpers
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
\pset tuples_only off
\pset format aligned
\pset null ''
\set ECHO all

CREATE TABLE ticket_events (
    no        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ticket_id bigint NOT NULL,
    what      text NOT NULL,
    payload   jsonb NOT NULL DEFAULT '{}',
    at        timestamptz NOT NULL
);
CREATE TABLE board (
    ticket_id  bigint PRIMARY KEY,
    title      text NOT NULL,
    assignee   text,
    moves      integer NOT NULL DEFAULT 0,
    registered timestamptz NOT NULL
);

-- Try it before it is created: what does each event do?
SELECT t->'no' AS no, t->'matched' AS matched, t->'clause' AS clause, t->'action' AS action, t->'row'->'assignee' AS assignee
  FROM projection_try($$
  MERGE INTO board b USING ticket_events e ON b.ticket_id = e.ticket_id
  WHEN NOT MATCHED AND e.what = 'registered' THEN
       INSERT (ticket_id, title, registered) VALUES (e.ticket_id, e.payload->>'title', e.at)
  WHEN MATCHED AND e.what = 'assigned' THEN UPDATE SET assignee = e.payload->>'to', moves = b.moves + 1
  WHEN MATCHED AND e.what = 'closed' THEN DELETE
$$, '[{"ticket_id": 1, "what": "registered", "payload": {"title": "It is slow"}, "at": "2026-01-05 10:00"},
      {"ticket_id": 1, "what": "assigned", "payload": {"to": "alice"}, "at": "2026-01-05 11:00"},
      {"ticket_id": 1, "what": "asigned", "payload": {"to": "bob"}, "at": "2026-01-05 12:00"},
      {"ticket_id": 1, "what": "closed", "at": "2026-01-05 13:00"}]', trace => true) AS t;

SELECT projection_create('board', $$
  MERGE INTO board b USING ticket_events e ON b.ticket_id = e.ticket_id
  WHEN NOT MATCHED AND e.what = 'registered' THEN
       INSERT (ticket_id, title, registered) VALUES (e.ticket_id, e.payload->>'title', e.at)
  WHEN MATCHED AND e.what = 'assigned' THEN UPDATE SET assignee = e.payload->>'to', moves = b.moves + 1
  WHEN MATCHED AND e.what = 'closed' THEN DELETE
$$);

INSERT INTO ticket_events (ticket_id, what, payload, at) VALUES
(1, 'registered', '{"title": "It is slow"}', '2026-01-05 10:00'),
(2, 'registered', '{"title": "It is down"}', '2026-01-05 10:01'),
(1, 'assigned', '{"to": "alice"}', '2026-01-05 10:02'),
(2, 'assigned', '{"to": "bob"}', '2026-01-05 10:03'),
(3, 'registered', '{"title": "It is ugly"}', '2026-01-05 10:04'),
(2, 'closed', '{}', '2026-01-05 10:05'),
(1, 'assigned', '{"to": "bob"}', '2026-01-05 10:06'),
(2, 'commented', '{"text": "Thank you"}', '2026-01-05 10:07');
SELECT projection_run('board');
SELECT * FROM board ORDER BY ticket_id;
-- What nothing was done with: a comment on a ticket.
SELECT * FROM projection_unhandled;

-- A ticket that is closed and registered again begins anew, in one batch too.
INSERT INTO ticket_events (ticket_id, what, payload, at) VALUES
(1, 'closed', '{}', '2026-01-06 10:00'),
(1, 'registered', '{"title": "It is slow again"}', '2026-01-06 10:01'),
(2, 'registered', '{"title": "It is down again"}', '2026-01-06 10:02'),
(3, 'closed', '{}', '2026-01-06 10:03');
SELECT projection_run('board');
SELECT * FROM board ORDER BY ticket_id;

-- Nothing is left when all are closed.
INSERT INTO ticket_events (ticket_id, what, at) VALUES (1, 'closed', '2026-01-07'), (2, 'closed', '2026-01-07');
SELECT projection_run('board');
SELECT * FROM board;

\set ECHO none
DROP SCHEMA regress_wp CASCADE;
