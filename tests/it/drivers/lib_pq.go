// What a program does with Go's lib/pq, as facts to read: PORT ROOT CERTIFICATE KEY. lib/pq has COPY in only.

package main

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/lib/pq"
)

func open(user, files string) *sql.DB {
	db, err := sql.Open("postgres", fmt.Sprintf("host=localhost port=%s dbname=postgres sslmode=verify-full sslrootcert=%s user=%s %s", os.Args[1], os.Args[2], user, files))
	must(err)
	return db
}

func main() {
	hers := fmt.Sprintf("sslcert=%s sslkey=%s", os.Args[3], os.Args[4])
	ctx := context.Background()
	watcher := open("alice", hers)
	// One connection, not a pool: what follows is one session.
	session, err := open("alice", hers).Conn(ctx)
	must(err)

	var user string
	must(session.QueryRowContext(ctx, "select session_user").Scan(&user))
	fmt.Println("user=" + user)

	var text string
	var length, number int64
	var null bool
	parameters := "select $1::text, length($1::text), $2::bigint + 1, $3::text is null"
	must(session.QueryRowContext(ctx, parameters, "it's \"Grüße\", 世界 🐘", 2147483647, nil).Scan(&text, &length, &number, &null))
	fmt.Println("parameters="+text, length, number, null)

	big(ctx, session)
	copyIn(ctx, session)
	cancel(ctx, session, watcher)

	// lib/pq gives up the connection of a cancelled statement: life goes on in another.
	var one int
	must(watcher.QueryRow("select 1").Scan(&one))
	fmt.Printf("after=%d\n", one)

	refusal("wrong_role", open("bob", hers))
	// Without these two lib/pq would look for a certificate in the home folder.
	refusal("no_certificate", open("alice", "sslcert=/nonexistent/certificate sslkey=/nonexistent/key"))
}

func big(ctx context.Context, session *sql.Conn) {
	rows, err := session.QueryContext(ctx, "select i, repeat(lpad(i::text, 8, '0'), 128) from generate_series(1, 51200) i")
	must(err)
	defer rows.Close()
	count, size, digest := 0, 0, sha256.New()
	for rows.Next() {
		var i int
		var value []byte
		must(rows.Scan(&i, &value))
		count++
		size += len(value)
		digest.Write(value)
	}
	must(rows.Err())
	fmt.Printf("big=%d %d %x\n", count, size, digest.Sum(nil))
}

func copyIn(ctx context.Context, session *sql.Conn) {
	_, err := session.ExecContext(ctx, "create temporary table copied (id int, text text)")
	must(err)
	transaction, err := session.BeginTx(ctx, nil)
	must(err)
	copied, err := transaction.Prepare(pq.CopyIn("copied", "id", "text"))
	must(err)
	for i := 1; i <= 100000; i++ {
		_, err = copied.Exec(i, fmt.Sprintf("number %d", i))
		must(err)
	}
	_, err = copied.Exec()
	must(err)
	must(copied.Close())
	must(transaction.Commit())
	var count, sum int64
	must(session.QueryRowContext(ctx, "select count(*), sum(id) from copied").Scan(&count, &sum))
	fmt.Printf("copy_in=%d %d\n", count, sum)
}

func cancel(ctx context.Context, session *sql.Conn, watcher *sql.DB) {
	var pid int
	must(session.QueryRowContext(ctx, "select pg_backend_pid()").Scan(&pid))
	cancellable, cancel := context.WithCancel(ctx)
	outcome := make(chan error)
	go func() {
		_, err := session.ExecContext(cancellable, "select pg_sleep(30)")
		outcome <- err
	}()
	for asleep := false; !asleep; {
		must(watcher.QueryRow("select count(*) = 1 from pg_stat_activity where pid = $1 and wait_event = 'PgSleep'", pid).Scan(&asleep))
	}
	asked := time.Now()
	cancel()
	fmt.Printf("cancel=%s\n", code(<-outcome))
	fmt.Printf("cancel_ms=%d\n", time.Since(asked).Milliseconds())
}

func refusal(name string, db *sql.DB) {
	err := db.Ping()
	fmt.Printf("%s=%s %v\n", name, code(err), err)
}

func code(err error) string {
	if refused, ok := err.(*pq.Error); ok {
		return string(refused.Code)
	}
	return fmt.Sprint(err)
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
