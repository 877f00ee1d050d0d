//! `arrwdb eval` against the real binary: figures computed by hand, and files that are wrong.

use serde_json::{Value, json};

use crate::cli::{lines, run, run_with};
use crate::harness::Process;

fn figure(answer: &Value, name: &str) -> f64 {
    answer[name].as_f64().unwrap_or_else(|| panic!("{name} of {answer}"))
}

#[test]
fn figures_are_means_over_judged_queries_in_either_format() {
    let folder = tempfile::tempdir().expect("folder");
    let server = Process::start(&folder.path().join("data"), &[]);
    run(&server, &["library", "create", "fruit"]).well();
    // The document with the shorter text is the better one for its only word.
    let documents = concat!(
        r#"{"id":"d1","title":"t","texts":["apple pear orange melon", "apple stone seed skin core"]}"#,
        "\n",
        r#"{"id":"d2","title":"t","texts":["apple"]}"#,
        "\n",
        r#"{"id":"d3","title":"t","texts":["plum"]}"#,
        "\n",
        r#"{"id":"d4","title":"t","texts":["cherry"]}"#,
        "\n",
    );
    run_with(&server, &["ingest", "fruit", "-", "--quiet"], documents).well();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    };
    let tsv = file("queries.tsv", "q1\tapple\nq2\tcherry\nq3\tplum\n");
    let jsonl = file(
        "queries.jsonl",
        "{\"_id\":\"q1\",\"text\":\"apple\"}\n{\"_id\":\"q2\",\"text\":\"cherry\"}\n\
         {\"_id\":\"q3\",\"text\":\"plum\"}\n",
    );
    let trec = file("trec.txt", "q1 0 d1 1\nq1 0 d3 1\nq1 0 d2 0\nq2 0 d4 2\nq9 0 d1 1\n");
    let beir = file(
        "beir.tsv",
        "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td3\t1\nq1\td2\t0\nq2\td4\t2\nq9\td1\t1\n",
    );
    let eval = |queries: &str, qrels: &str, extra: &[&str]| {
        let args = ["eval", "--library", "fruit", "--queries", queries, "--qrels", qrels];
        run(&server, &[&args[..], extra].concat())
    };
    for (queries, qrels) in [(&tsv, &trec), (&jsonl, &beir)] {
        let said = eval(queries, qrels, &["--mode", "text", "--json"]).well();
        let answer = &lines(&said)[0];
        // q1: d2 then d1, of which d1 is right, as d3 is, which has not the word:
        // (1 / log₂3) / (1 + 1 / log₂3) = 0.3868528. q2 is perfect. q3 is not judged.
        assert!((figure(answer, "ndcg_at_10") - f64::midpoint(0.386_852_807, 1.0)).abs() < 1e-8);
        assert!((figure(answer, "recall_at_k") - 0.75).abs() < 1e-12, "{answer}");
        assert!((figure(answer, "mrr_at_k") - 0.75).abs() < 1e-12, "{answer}");
        let counts = ["num_queries", "num_unjudged", "num_unasked", "k"].map(|name| &answer[name]);
        assert_eq!(counts, [&json!(2), &json!(1), &json!(1), &json!(100)]);
    }
    // By vectors too every document is ranked: recall is whole.
    let said = eval(&tsv, &trec, &["--mode", "vector", "--json"]).well();
    assert!((figure(&lines(&said)[0], "recall_at_k") - 1.0).abs() < 1e-12, "{said}");
    let ended = eval(&tsv, &trec, &[]);
    assert!(ended.log.contains("1 queries have no right document"), "{ended:?}");
    assert!(ended.well().contains("ndcg_at_10"));
    assert_eq!(eval(&tsv, &trec, &["--quiet"]).log, "");

    let bad = file("bad.txt", "q1 0 d1 1\nq1 d1\n");
    let none = file("none.txt", "q7 0 d1 1\n");
    for (args, words) in [
        ([&tsv, &bad], "bad.txt:2: "),
        ([&bad, &trec], "bad.txt:1: "),
        ([&tsv, &none], "--qrels"),
        ([&"/no/such/file".to_owned(), &trec], "/no/such/file"),
    ] {
        let log = eval(args[0], args[1], &[]).badly(2);
        assert!(log.contains(words), "{log}");
    }
    let args = ["eval", "--library", "none", "--queries", &tsv, "--qrels", &trec, "--quiet"];
    let log = run(&server, &args).badly(1);
    assert!(log.contains("not-found: query "), "{log}");
}
