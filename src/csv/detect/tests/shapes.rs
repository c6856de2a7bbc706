//! Files as they are found.

use super::found;

#[track_caller]
fn assert_found(cases: &[(&str, &str)]) {
    let wrong: Vec<_> = cases
        .iter()
        .map(|(text, expected)| (text, found(text), expected))
        .filter(|(_, found, expected)| found != *expected)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn delimiters() {
    assert_found(&[
        ("id,name\n1,a\n2,b\n", "\",\" header 1"),
        ("id\tname\n1\ta, b\n2\tc\n", "\"\\t\" header 1"),
        ("id;name\n1;a, b\n2;c, d\n", "\";\" header 1"),
        ("id|name\n1|a;b\n2|c\n", "\"|\" header 1"),
        ("id\x01name\n1\x01a,b\n2\x01c\n", "\"\\u{1}\" header 1"),
        ("id||name||x\n1||a|b||2\n2||c||3\n", "\"||\" header 1"),
        ("1::1193::5::978300760\n1::661::3::978302109\n", "\"::\" header 0"),
        ("id, name, city\n1, \"a, b\", c\n2, d, e\n", "\", \" header 1"),
        ("id^name\n1^a\n2^b\n", "\"^\" header 1"),
        ("id~name\n1~a\n2~b\n", "\"~\" header 1"),
        (
            "root:x:0:0:root:/root:/bin/bash\nbin:x:1:1:bin:/bin:/usr/sbin/nologin\n",
            "\":\" header 0",
        ),
        // Nothing but spaces after some commas is no reason.
        ("id,name\n1, a\n2,b\n", "\",\" header 1"),
        ("id,name,x\n1,a, \n2,b, c\n", "\",\" header 1"),
        // A column without values is no delimiter of two bytes.
        ("1||a\n2|x|b\n", "\"|\" header 0"),
        ("id|middle|name\n1||a\n2||b\n", "\"|\" header 1"),
    ]);
}

#[test]
fn quotes_and_escapes() {
    assert_found(&[
        ("id,text\n1,\"a,b\nc\"\n2,\"d\"\"e\"\n", "\",\" header 1"),
        ("id,text\n1,'a,b'\n2,'c'\n", "\",\" quote ' header 1"),
        ("id,text\n1,it's\n2,'tis\n3,rock 'n' roll\n", "\",\" header 1"),
        ("id,text\n1,\"a \\\"b\\\" c\"\n2,\"d, \\\"e\\\"\"\n", "\",\" escape \\ header 1"),
        ("id,text\n1,\"C:\\dir\\\"\n2,\"d\"\n", "\",\" header 1"),
        ("id;text\n1;a\\;b\n2;c\n3;d\n", "\";\" escape \\ header 1"),
        // In each row, so that the number of fields does not say so.
        (
            "2027-7-4:2:\\:\\:6:2016-2-2:0\n2021-1-4:6:\\:\\:7:2012-1-1:4\n\
             2029-1-3:1:\\:\\:5:2023-1-4:3\n2011-2-4:8:\\:\\:7:2027-4-8:0\n\
             2020-1-6:3:\\:\\:2:2020-1-3:9\n",
            "\":\" escape \\ header 0",
        ),
        ("id,size\n1,5\" disk\n2,3.5\" disk\n", "\",\" header 1"),
        // Each quote is an inch.
        ("part\tsize\na\t\"5\nb\t\"3\nc\t\"4\n", "\"\\t\" unquoted header 1"),
        // Quotes around every field, with apostrophes.
        ("\"id\",\"text\"\n\"1\",\"it's, so\"\n\"2\",\"'x'\"\n", "\",\" header 1"),
    ]);
}

#[test]
fn spaces_are_delimiters_where_fields_are_quoted_even_if_texts_are_not() {
    let row = |i: usize| {
        let note = ["\"low, wide\"", "it is low, and so on", "tall", "a rake, for once"][i % 4];
        format!("0{}/01/2018 0{i}:00 {i} {note} \"https://example.com/{i}, {i}\"\n", i + 1)
    };
    let rows: String = (0..8).map(row).collect();
    assert_found(&[(&format!("day time count note link\n{rows}"), "\" \" header 1")]);
}

#[test]
fn a_row_of_words_for_nothing_is_a_row() {
    assert_found(&[("~null\n3~x\n~\n4~y\n", "\"~\" header 0")]);
}

#[test]
fn line_ends() {
    assert_found(&[
        ("id,name\r\n1,a\r\n2,b", "\",\" header 1"),
        ("id,name\r1,a\r2,b\r", "\",\" Cr header 1"),
        ("id,name\r1,\"a\nb\"\r2,b\r3,\"c\nd\"", "\",\" Cr header 1"),
        ("id,name\r1,a\n2,b\r\n3,c\r4,d\n", "\",\" Mixed header 1"),
        ("id,name\r\n1,\"a\nb\"\r\n2,\"c\rd\"\r\n", "\",\" header 1"),
        ("id,text,n\r\n1,a\nb,2\r\n2,c\nd,3\r\n3,e\nf,5\r\n", "\",\" Crlf header 1"),
        ("id,name\n1,a\n2,b\r\n3,c\n", "\",\" header 1"),
    ]);
}

#[test]
fn headers() {
    assert_found(&[
        ("1,a\n2,b\n3,c\n", "\",\" header 0"),
        ("a,b\nc,d\ne,f\n", "\",\" header 1"),
        // A text that comes again is no name.
        ("Berlin,north\nParis,south\nBerlin,south\n", "\",\" header 0"),
        ("name,value\nage,12\nname,13\n", "\",\" header 1"),
        // A first row that has lost a field, or has one too many.
        ("5,x,2024-01-01\n6,y,1,2024-01-01\n7,z,2,2024-01-02\n", "\",\" header 0"),
        ("id,name price\n1,a,2\n2,b,3\n", "\",\" header 1"),
        ("id,a,b,c,\n1,a,2\n2,b,3\n", "\",\" header 1"),
        // Files that were put together.
        ("id,name,city\n1,a,b\n2,c,d\n3,e,f\nid,name,city\n4,g,h\n", "\",\" header 1"),
        ("name,city\na,b\nc,d\nname,city\ne,f\n", "\",\" header 1"),
        ("country,2019,2020,2021\nde,5,6.5,7\nfr,3,3,4\n", "\",\" header 1"),
        ("name,count\na,N/A\nb,2\nc,3\n", "\",\" header 1"),
        ("a,N/A\nb,2\nc,3\nd,4\n", "\",\" header 1"),
        ("1,2\n", "\",\" header 0"),
        ("1,2\n1,2\n", "\",\" header 0"),
        ("id,name\n", "\",\" header 1"),
        ("id,name", "\",\" header 1"),
        ("Alice,30,2024-01-01\n", "\",\" header 0"),
        (",a,b\n0,1,2\n1,3,4\n", "\",\" header 1"),
        ("ID,CODE\nab1,x9\ncd2,y8\n", "\",\" header 1"),
        ("time,temp,wind\ns,C,m/s\n1,20.5,3\n2,21,4\n3,21,4\n4,20,5\n", "\",\" header 2"),
        ("id,name\nid,name\n1,a\n2,b\n", "\",\" header 1 after 1"),
        ("yes,no,flag\n1,2,y\n3,4,n\n", "\",\" header 1"),
    ]);
}

#[test]
fn one_column() {
    assert_found(&[
        ("name\nAlice\nBob\n", "\",\" header 1"),
        ("name\nJohn Smith\nJane Doe\nMax Mustermann\n", "\",\" header 1"),
        ("12\n13\n14\n", "\",\" header 0"),
        ("when\n2024-01-01 10:00:00\n2024-01-02 11:30:00\n", "\",\" header 1"),
        ("10:00:01\n10:00:02\n", "\",\" header 0"),
        ("url\nhttps://a.example/x?y=1;z=2\nhttps://b.example:80/\n", "\",\" header 1"),
        ("text\nhello, world, again\nno comma\nor, one\nthe end\n", "\"\\t\" header 1"),
        ("text\n\"hello, world\"\n\"a\"\n", "\",\" header 1"),
        ("x\n", "\",\" header 1"),
        ("x", "\",\" header 1"),
        ("7\n", "\",\" header 0"),
    ]);
}

#[test]
fn lines_before_the_table() {
    assert_found(&[
        ("sep=;\r\nid;name\r\n1;a,b\r\n", "\";\" header 1 after 1"),
        ("\u{FEFF}sep=\t\nid\tname\n1\ta\n", "\"\\t\" header 1 after 1"),
        ("Report of 2024\n\nid,name\n1,a\n2,b\n", "\",\" header 1 after 2"),
        ("Report\nMade by: x, y\n\nid;name;n\n1;a;2\n2;b;3\n", "\";\" header 1 after 3"),
        ("Title,,,\n,,,\nid,name,n,m\n1,a,2,3\n2,b,3,4\n", "\",\" header 1 after 2"),
        ("Title,,\nid,name,n\n1,a,2\n2,b,3\n", "\",\" header 1 after 1"),
        ("\n\nid,name\n1,a\n2,b\n", "\",\" header 1"),
        ("My list\nname,city,country\na,b,c\nd,e,f\n", "\",\" header 1 after 1"),
        (
            "# made by x\n# on 2024-01-01, at 10:00\nid,name,n\n1,a,2\n2,b,3\n",
            "\",\" header 1 after 2",
        ),
        ("\"A \"\"title\"\"\nof two lines\"\n\nid,name,n\n1,a,2\n", "\",\" header 1 after 3"),
        ("Notes, as of May\n\nid,n\n1,2\n3,5\n", "\",\" header 1 after 2"),
        // A second table is no reason to leave the first one out.
        ("id,n\n1,2\n2,3\n3,4\n\nid,m\n3,5\n", "\",\" header 1"),
        // The first row of a table without a header may have gaps.
        ("1,,\n2,a,5\n3,b,6\n", "\",\" header 0"),
        ("a,,\nb,xx,5\nc,zz,6\n", "\",\" header 0"),
    ]);
}

#[test]
fn government_data_with_notes() {
    let text = "Statistisches Bundesamt;;;\r\nBevölkerung nach Ländern;;;\r\n\r\n\
                Land;Stichtag;Insgesamt;Anteil\r\n\
                Baden-Württemberg;31.12.2020;11.103.043;13,4\r\n\
                Bayern;31.12.2020;13.140.183;15,8\r\n\
                Berlin;31.12.2020;3.664.088;4,4\r\n\
                __________\r\n© Statistisches Bundesamt, 2021\r\n";
    assert_eq!(found(text), "\";\" header 1 after 3");
}

#[test]
fn excel_in_several_countries() {
    assert_found(&[
        (
            "Datum;Betrag;Text\r\n01.02.2024;1.234,50;Miete, warm\r\n02.02.2024;-5,00;\"a;b\"\r\n",
            "\";\" header 1",
        ),
        (
            "Date;Montant;Libellé\r\n01/02/2024;1 234,50;Loyer\r\n02/02/2024;-5,00;Pain\r\n",
            "\";\" header 1",
        ),
        (
            "Date,Amount,Text\r\n2/1/2024,\"1,234.50\",Rent\r\n2/2/2024,-5.00,\"a, b\"\r\n",
            "\",\" header 1",
        ),
        ("Datum\tBelopp\r\n2024-02-01\t1 234,50\r\n2024-02-02\t-5,00\r\n", "\"\\t\" header 1"),
        ("日付,金額,内容\r\n2024/2/1,\"¥1,234\",家賃\r\n2024/2/2,¥5,パン\r\n", "\",\" header 1"),
        ("1,5;2,5\n3,5;4,5\n", "\";\" header 0"),
        ("x;y\n1,5;2,5\n3,5;4,5\n", "\";\" header 1"),
    ]);
}

#[test]
fn logs_and_settings() {
    assert_found(&[
        (
            "10.0.0.1 - - [10/Oct/2000:13:55:36 -0700] \"GET /a HTTP/1.0\" 200 2326\n\
             10.0.0.2 - - [10/Oct/2000:13:55:37 -0700] \"GET /b HTTP/1.0\" 404 12\n\
             10.0.0.1 - - [10/Oct/2000:13:55:39 -0700] \"POST /c HTTP/1.0\" 200 7\n",
            "\" \" header 0",
        ),
        (
            "2024-01-01 10:00:00 INFO started\n2024-01-01 10:00:05 WARN it is slow today\n",
            "\",\" header 1",
        ),
        ("host: localhost\nport: 8080\nuser: me\n", "\",\" header 1"),
        (
            "ts=1 level=info msg=\"a b\"\nts=2 level=warn msg=\"c, d\"\nts=3 level=info msg=\"e\"\nts=4 level=info \
             msg=\"f\"\nts=5 level=info msg=\"g\"\n",
            "\"\\t\" header 1",
        ),
    ]);
}

#[test]
fn a_row_that_is_wrong_is_outvoted() {
    let rows = [
        "id,name,price,day",
        "1,\"Nut, large\",2.50,2024-01-01",
        "2,Bolt,3.75,2024-01-02",
        "3,\"Washer; 5 mm\",0.10,2024-01-03",
        "4,Screw,0.25,2024-01-04",
        "5,Hook,1.25,2024-01-05",
        "6,\"Rod \"\"A\"\"\",7.00,2024-01-06",
        "7,Pin,0.05,2024-01-07",
    ];
    for row in 0..rows.len() {
        let pieces: Vec<&str> = rows[row].split(',').collect();
        for at in 0..pieces.len() {
            let insert = |mark: &str| {
                let mut changed: Vec<String> = pieces.iter().map(|p| (*p).to_owned()).collect();
                changed[at].insert_str(0, mark);
                changed.join(",")
            };
            let mut damaged =
                vec![insert(","), insert("\""), insert(";"), rows[row].replace(',', ";")];
            damaged.push(rows[row].replacen(',', "", 1));
            damaged.push(rows[row].replace(',', " "));
            for wrong in damaged {
                let mut all: Vec<&str> = rows.to_vec();
                all[row] = &wrong;
                let text = all.join("\r\n");
                assert_eq!(found(&text), "\",\" header 1", "{text}");
            }
        }
    }
}
