"""Words in capitals: which are spelled, which are said as words, and which only shout."""

import re

from gpu_workers.spoken.addresses import spell
from gpu_workers.spoken.owned import Said
from gpu_workers.spoken.tables import word_set

#: Said as words though a rule would spell them.
_WORDS = word_set(
    """
    NASA NATO UNESCO UNICEF OPEC AIDS COVID RAM ROM LASER RADAR SCUBA JPEG GIF PIN SIM LAN WAN VAT NAFTA FIFA UEFA
    BASIC CRUD YAML JSON REST SOAP CAPTCHA ASCII SWAT OSHA FEMA LIDAR SONAR DOS BIOS FIFO RAID SARS CAD ZIP PETA
    DARPA
    """
)

#: Spelled though they could be read, or are words too.
_SPELLED = word_set(
    """
    AI API USA USB UK EU UN US UAE IBM AWS CIA FBI IRS CEO CFO CTO CIO COO CPU GPU URL URI UI UX IP ID IT OS IOT AR
    VR TV PC HR PR AC DC AM PM AD BC DNA RNA HIV EV SUV UFO ATM ETA FAQ ASAP DIY AKA RSVP NBA NFL MIT UCLA NYU LA
    IEEE ISO OLED LED AES RSA IDE SSH ISP OCR BBC NPR ESPN HBO AAA EEG ECG MRI USSR UAV AOL IPO ROI KPI SEO SQL
    HTTPS IMO FYI TTS STT LLM AMD AMA AA IOS OECD IMF ICU
    """
)

#: Short words that people shout.
_COMMON = word_set(
    """
    A AM AN AND ANY ARE AS AT ALL ASK BAD BE BIG BUT BY BUY CAN CUT DAY DID DO DON END EAT FAR FEW FOR FUN GET GO
    GOT HAD HAS HAVE HE HER HEY HI HIM HIS HOT HOW IF IN INTO IS ITS JOB LET LOT LOW MAN MAY ME MY NEW NO NOT NOW OF
    OFF OH OLD ON ONE OR OUR OUT OWN PUT RED RUN SAD SAY SEE SET SHE SIT SO TEN THE TOO TOP TO TRY TWO UP USE WAR
    WAS WAY WE WHO WHY WIN WOW YES YET YOU ADD AGO AGE AIR BED BOY CAR CRY DOG EGG EYE FIX FLY GUY HIT ICE LAW LIE
    MAD MOM DAD PAY SIX SKY SON SUN TEA TIP
    """
)

#: Acronyms that are words where all shouts.
_BOTH = frozenset({"US", "IT", "AM"})

_OKAY = frozenset({"OK"})
#: Longer ones with a vowel are taken for words.
_SHORT = 3

#: So far, in signs, the word beside it is looked for.
_NEAR = 24


def acronym(match: re.Match[str]) -> Said:
    """'HTML' spelled, 'NASA' as a word, 'STOP' as 'stop'."""
    name, plural = match[1], match[2] or ""
    if name in _OKAY:
        return "okay"
    if name in _WORDS:
        return name.capitalize() + plural
    word = name in _COMMON or (len(name) > _SHORT and set(name) & set("AEIOU") and name not in _SPELLED)
    if word or (_could_shout(name) and _shouted(match)):
        return name.lower() + plural
    return spell(name) + (f"'{plural.lstrip(chr(39))}" if plural else "")


def _could_shout(name: str) -> bool:
    return bool(set(name) & set("AEIOUY")) and (name not in _SPELLED | _WORDS or name in _BOTH)


def _shouted(match: re.Match[str]) -> bool:
    """A word beside it is in capitals too, and no acronym."""
    before = match.string[max(0, match.start() - _NEAR) : match.start()].split()[-1:]
    after = match.string[match.end() : match.end() + _NEAR].split()[:1]
    beside = [word.strip(".,!?;:'\"()") for word in before + after]
    return any(len(word) > 1 and word.isalpha() and word.isupper() and _could_shout(word) for word in beside)
