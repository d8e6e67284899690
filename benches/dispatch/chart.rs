//! The chart in README: deliveries per CPU second, on a logarithmic scale.

/// One contender's bar.
pub struct Bar {
    pub name: &'static str,
    pub value: f64,
    pub ours: bool,
}

const LEFT: f64 = 100.0;
const WIDTH: f64 = 460.0;
const ROW: f64 = 28.0;
const TOP: f64 = 34.0;
/// Where the scale begins and ends: powers of ten.
const DECADES: (i32, i32) = (2, 5);

/// The bars as an SVG, the longest first.
pub fn chart(bars: &[Bar]) -> String {
    let mut bars: Vec<&Bar> = bars.iter().collect();
    bars.sort_by(|a, b| b.value.total_cmp(&a.value));
    let mut bottom = TOP;
    let mut rows = String::new();
    for bar in bars {
        rows.push_str(&row(bar, bottom));
        bottom += ROW;
    }
    let lines: String = (DECADES.0..=DECADES.1).map(|decade| line(10_f64.powi(decade), bottom)).collect();
    let height = bottom + 24.0;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="660" height="{height:.0}" viewBox="0 0 660 {height:.0}" font-family="system-ui, sans-serif" font-size="12" fill="#57606a">
<rect width="660" height="{height:.0}" fill="#ffffff"/>
<text x="{LEFT}" y="18" font-weight="600">Deliveries per CPU second (logarithmic)</text>
{lines}{rows}</svg>
"##
    )
}

/// How long the bar of a value is.
fn length(value: f64) -> f64 {
    let decades = value.log10() - f64::from(DECADES.0);
    (decades / f64::from(DECADES.1 - DECADES.0)).clamp(0.0, 1.0) * WIDTH
}

fn row(bar: &Bar, y: f64) -> String {
    let (colour, width) = (if bar.ours { "#1f6feb" } else { "#8b949e" }, length(bar.value));
    format!(
        r#"<text x="{:.0}" y="{:.0}" text-anchor="end">{}</text><rect x="{LEFT}" y="{y:.0}" width="{width:.1}" height="18" rx="2" fill="{colour}"/><text x="{:.1}" y="{:.0}">{}</text>
"#,
        LEFT - 8.0,
        y + 13.0,
        bar.name,
        LEFT + 6.0 + width,
        y + 13.0,
        thousands(bar.value),
    )
}

fn line(value: f64, bottom: f64) -> String {
    let x = LEFT + length(value);
    format!(
        r##"<line x1="{x:.1}" y1="28" x2="{x:.1}" y2="{bottom:.0}" stroke="#d0d7de"/><text x="{x:.1}" y="{:.0}" text-anchor="middle">{}</text>
"##,
        bottom + 14.0,
        thousands(value),
    )
}

/// A whole number with commas, to three digits that count.
fn thousands(value: f64) -> String {
    let unit = 10_f64.powf((value.log10().floor() - 2.0).max(0.0));
    let digits = format!("{:.0}", (value / unit).round() * unit);
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
